# Who this host is, when it was read, and with what privilege.
machine_id() { sha256sum </etc/machine-id; }
clock() {
    date -u +%Y-%m-%dT%H:%M:%SZ
    date +%z
}
birth() { # second field: birth or "-"/"?"/0 where the file system does not tell; third: mtime
    for birth_f in / /etc/machine-id /etc/hostname /lost+found /var/log/installer \
        /etc/ssh/ssh_host_rsa_key.pub /etc/ssh/ssh_host_ed25519_key.pub /root/anaconda-ks.cfg; do
        [ -e "$birth_f" ] && stat -c '%n %W %Y' "$birth_f"
    done
    true
}
confinement() { # signs of a container, one a line
    [ -e /.dockerenv ] && echo /.dockerenv
    [ -e /run/.containerenv ] && echo /run/.containerenv
    [ -e /run/systemd/container ] && echo "/run/systemd/container $(cat /run/systemd/container)"
    { tr '\0' '\n' </proc/1/environ | grep '^container='; } 2>/dev/null
    grep -E '/(docker|lxc|kubepods|libpod|containerd)' /proc/1/cgroup 2>/dev/null
    grep '^CapEff' /proc/self/status 2>/dev/null
    true
}
init_process() {
    cat /proc/1/comm
    readlink /proc/1/exe 2>/dev/null
    true
}
units() { # which services run; the first word of the section's command names the init system
    if [ -d /run/systemd/system ] && have systemctl; then
        run host.units 1048576 10 systemctl list-units --all --plain --no-legend --no-pager \
            --type=service,timer,socket
        run host.unit-files 1048576 10 systemctl list-unit-files --no-legend --no-pager \
            --type=service,timer,socket
    elif have rc-status; then
        run host.units 1048576 10 rc-status --all --nocolor
        run host.unit-files 1048576 10 rc-update show
    else
        none host.units no-tool
        frame host.unit-files 1048576 'ls /etc/rc2.d ... /etc/rc5.d' start_links
    fi
}
start_links() {
    for start_links_f in /etc/rc[2-5].d/S* /etc/rc.d/rc[2-5].d/S*; do
        [ -e "$start_links_f" ] && echo "$start_links_f"
    done
    true
}
collect_host() {
    run host.name 1024 5 uname -n
    run host.kernel 1024 5 uname -srvm
    frame host.clock 256 'date -u +%Y-%m-%dT%H:%M:%SZ; date +%z' clock
    run host.privilege 1024 5 id
    if [ -r /etc/machine-id ] && have sha256sum; then
        frame host.machine-id 256 'sha256sum < /etc/machine-id' machine_id
    else
        none host.machine-id no-tool
    fi
    file /proc/uptime 128
    frame host.birth 4096 "stat -c '%n %W %Y' (files made when the system was installed)" birth
    frame host.confinement 4096 '/.dockerenv, /proc/1/environ, /proc/1/cgroup, CapEff' confinement
    file /proc/2/comm 64 # kthreadd, unless this is another PID namespace than the kernel's own
    frame host.init 256 '/proc/1/comm, /proc/1/exe' init_process
    units
    file /etc/os-release 8192
    file /usr/lib/os-release 8192
    file /etc/debian_version 256
    file /etc/redhat-release 256
    file /etc/openEuler-release 256
    file /etc/kylin-release 256
    file /etc/.productinfo 1024
}
