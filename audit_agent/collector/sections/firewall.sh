# The packet filter: what the kernel holds, and what the host has stored to load again.
#
# Asking for a table that is not there would make the kernel load modules and create it; so each
# program is only run where its part of the kernel is already in use.
in_use() { # MODULE: 0 loaded, built in, or not to be told; 1 certainly not in use
    [ -e "/sys/module/$1" ] && return 0
    [ -r /proc/modules ] && read -r in_use_kernel </proc/sys/kernel/osrelease || return 0
    [ -r "/lib/modules/$in_use_kernel/modules.builtin" ] || return 0
    grep -q "^$1 " /proc/modules && return 0
    grep -q "/$1\\.ko" "/lib/modules/$in_use_kernel/modules.builtin"
}
save() { # NAME PROGRAM
    run "$1" 16777216 20 "$2" -c
}
legacy_saves() { # 4|6 iptables|ip6tables: the tables of the old engine, where it may have any
    if [ "$1" = 4 ]; then saves_names=/proc/net/ip_tables_names; else
        saves_names=/proc/net/ip6_tables_names
    fi
    file "$saves_names" 4096
    saves_some=unknown
    if [ "$gap" = absent ]; then saves_some=none; fi
    if [ -r "$saves_names" ]; then
        saves_some=none
        if read -r _ <"$saves_names"; then saves_some=some; fi
    fi
    if [ "$saves_some" = none ]; then
        none "firewall.$2-legacy" absent
    elif have "$2-legacy-save"; then
        save "firewall.$2-legacy" "$2-legacy-save"
    elif have "$2-nft-save"; then
        none "firewall.$2-legacy" no-tool
    fi
}
kernel_rules() {
    for kernel_rules_p in iptables:4 ip6tables:6; do
        kernel_rules_v=${kernel_rules_p#*:} kernel_rules_p=${kernel_rules_p%:*}
        gap=
        legacy_saves "$kernel_rules_v" "$kernel_rules_p"
        if have "$kernel_rules_p-nft-save"; then
            if in_use nf_tables; then
                save "firewall.$kernel_rules_p-nft" "$kernel_rules_p-nft-save"
            else
                none "firewall.$kernel_rules_p-nft" absent
            fi
        elif ! have "$kernel_rules_p-legacy-save"; then
            save "firewall.$kernel_rules_p" "$kernel_rules_p-save" # the header tells which engine
        fi
    done
    if in_use nf_tables; then
        run firewall.nft-json 16777216 20 nft -j list ruleset
        run firewall.nft 16777216 20 nft -a list ruleset
    else
        none firewall.nft-json absent
        none firewall.nft absent
    fi
    if in_use ip_set; then
        run firewall.ipset 16777216 20 ipset save
    else
        none firewall.ipset absent
    fi
}
nft_file() { # PATH DEPTH: a stored ruleset and the files it includes
    file "$1" 1048576
    [ -r "$1" ] && [ "$2" -gt 0 ] || return 0
    # The words may be patterns; nft looks for relative ones in /etc.
    # shellcheck disable=SC2013
    for nft_file_f in $(sed -n -e 's,^[ 	]*include[ 	]*"\(/[^" ]*\)".*,\1,p' \
        -e 's,^[ 	]*include[ 	]*"\([^/" ][^" ]*\)".*,/etc/\1,p' "$1"); do
        if [ -f "$nft_file_f" ]; then nft_file "$nft_file_f" $(($2 - 1)); fi
    done
}
ufw_files() {
    file /etc/ufw/ufw.conf 65536
    file /etc/default/ufw 65536
    for ufw_files_f in before after user; do
        file "/etc/ufw/$ufw_files_f.rules" 1048576
        file "/etc/ufw/${ufw_files_f}6.rules" 1048576
    done
}
firewalld() {
    file /etc/firewalld/firewalld.conf 65536
    directory /etc/firewalld/zones
    directory /etc/firewalld/policies
    file /etc/firewalld/direct.xml 262144
    if have firewall-cmd && [ -d /run/systemd/system ] && systemctl -q is-active firewalld; then
        run firewall.firewalld 1048576 20 firewall-cmd --list-all-zones
        run firewall.firewalld-permanent 1048576 20 firewall-cmd --permanent --list-all-zones
    fi
}
stored_rules() {
    for stored_rules_f in /etc/nftables.conf /etc/sysconfig/nftables.conf /etc/nftables.nft \
        /etc/nftables/rules.nft; do
        nft_file "$stored_rules_f" 2
    done
    for stored_rules_f in /etc/sysconfig/iptables /etc/sysconfig/ip6tables \
        /etc/iptables/rules.v4 /etc/iptables/rules.v6 /etc/iptables/ipsets \
        /etc/iptables/rules-save /etc/iptables/rules6-save /etc/sysconfig/ipset; do
        file "$stored_rules_f" 4194304
    done
    modes firewall.stored /etc/nftables.conf /etc/sysconfig/nftables.conf /etc/nftables.nft \
        /etc/sysconfig/iptables /etc/sysconfig/ip6tables /etc/iptables/* /etc/ufw/*.rules \
        /etc/firewalld/zones/*
}
boot_scripts() { # lines of what runs at boot that call a packet filter program
    grep -nE '(^|[^#A-Za-z0-9])(iptables|ip6tables|iptables-restore|nft|ipset)[ -]' /dev/null \
        /etc/rc.local /etc/rc.d/rc.local /etc/network/interfaces /etc/network/interfaces.d/* \
        /etc/network/if-pre-up.d/* /etc/network/if-up.d/* /etc/local.d/*.start \
        /etc/NetworkManager/dispatcher.d/* /etc/systemd/system/*.service /etc/crontab \
        /etc/cron.d/* /var/spool/cron/root /var/spool/cron/crontabs/root 2>/dev/null | redact
    true
}
collect_firewall() {
    kernel_rules
    stored_rules
    ufw_files
    firewalld
    frame firewall.boot-scripts 65536 \
        "grep 'iptables|nft|ipset' /etc/rc.local, /etc/network, /etc/systemd/system, cron" boot_scripts
}
