# Addresses, interfaces, routes and sockets.
#
# net.addresses always has the shape of `ip -o addr`, whichever program told.
addresses_of_ifconfig() {
    ifconfig -a | awk '
        function bits(mask,    part, n, i, b) {
            if (mask ~ /^0x/) return 32
            n = split(mask, part, "."); b = 0
            for (i = 1; i <= n; i++) while (part[i] > 0) { b += part[i] % 2; part[i] = int(part[i] / 2) }
            return b
        }
        function where6(addr) {
            return addr ~ /^fe[89ab]/ ? "link" : addr == "::1" ? "host" : "global"
        }
        /^[^ \t]/ { name = $1; sub(/:$/, "", name) }
        /^[ \t]+inet / {
            addr = $2; sub(/^addr:/, "", addr); mask = "255.255.255.255"; brd = ""
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^Mask:/) { mask = $i; sub(/^Mask:/, "", mask) }
                if ($i == "netmask") mask = $(i + 1)
                if ($i ~ /^Bcast:/) { brd = $i; sub(/^Bcast:/, "brd ", brd) }
                if ($i == "broadcast") brd = "brd " $(i + 1)
            }
            print "0: " name "    inet " addr "/" bits(mask) " " brd " scope " \
                (addr ~ /^127\./ ? "host" : "global") " " name
        }
        /^[ \t]+inet6 / {
            addr = $2; len = "128"
            if (addr == "addr:") addr = $3
            sub(/^addr:/, "", addr)
            if (split(addr, part, "/") == 2) { addr = part[1]; len = part[2] }
            for (i = 2; i <= NF; i++) if ($i == "prefixlen") len = $(i + 1)
            print "0: " name "    inet6 " addr "/" len " scope " where6(addr) " "
        }'
}
addresses_of_proc() {
    awk '/\/32 host LOCAL/ && last != "" && !seen[last]++ {
             print "0: ?    inet " last "/32 scope " (last ~ /^127\./ ? "host" : "global") " ?"
         }
         / [0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/ { last = $NF }' /proc/net/fib_trie
    if [ -r /proc/net/if_inet6 ]; then
        while read -r proc_a _ proc_len proc_scope _ proc_name; do
            proc_word=global
            [ "$proc_scope" = 20 ] && proc_word="link"
            [ "$proc_scope" = 10 ] && proc_word=host
            proc_text=
            while [ -n "$proc_a" ]; do
                proc_text=$proc_text:${proc_a%"${proc_a#????}"}
                proc_a=${proc_a#????}
            done
            echo "0: $proc_name    inet6 ${proc_text#:}/$((0x$proc_len)) scope $proc_word "
        done </proc/net/if_inet6
    fi
}
interfaces() { # NAME flags=HEX operstate=WORD [bridge] [lower=NAME]..., read without a fork
    if [ ! -e /sys/class/net/lo ]; then # no sysfs here: the names at least, taken to be up
        sed -n -e 's/^ *\([^ :]*\):.*/\1 flags=0x1/' -e 's/^lo flags=0x1/lo flags=0x9/' \
            -e '/flags=/p' /proc/net/dev
        return
    fi
    for interfaces_d in /sys/class/net/*; do
        [ -r "$interfaces_d/flags" ] || continue
        read -r interfaces_flags <"$interfaces_d/flags"
        interfaces_state=unknown
        read -r interfaces_state 2>/dev/null <"$interfaces_d/operstate"
        interfaces_line="${interfaces_d##*/} flags=$interfaces_flags operstate=$interfaces_state"
        if [ -d "$interfaces_d/bridge" ]; then interfaces_line="$interfaces_line bridge"; fi
        for interfaces_l in "$interfaces_d"/lower_*; do
            if [ -e "$interfaces_l" ]; then
                interfaces_line="$interfaces_line lower=${interfaces_l##*/lower_}"
            fi
        done
        echo "$interfaces_line"
    done
}
default_routes() {
    ip -4 route show default table all && ip -6 route show default table all
}
default_routes_of_proc() { # in the words of `ip route`; the main table only
    awk '$2 == "00000000" && $8 == "00000000" { print "default dev " $1 }' /proc/net/route
    if [ -r /proc/net/ipv6_route ]; then
        awk '$1 ~ /^0+$/ && $2 == "00" && $10 != "lo" { print "default dev " $10 " inet6" }' \
            /proc/net/ipv6_route
    fi
}
net_settings() { # PATH:VALUE; `read` would see only the first byte of a file in /proc/sys
    cd /proc/sys/net && grep '' /dev/null ipv4/ip_forward ipv4/ip_local_port_range \
        ipv6/bindv6only ipv6/conf/all/forwarding ipv6/conf/all/disable_ipv6 \
        bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables \
        ipv4/conf/*/route_localnet 2>/dev/null
    true
}
proc_sockets() { # the listening lines of /proc/net, each after the name of its table
    # shellcheck disable=SC2046
    cd /proc/net && awk '($4 == "0A" && FILENAME ~ /^tcp/) || ($4 == "07" && FILENAME ~ /^udp/) {
        print FILENAME, $2, $3, $4, $8, $10
    }' $(ls tcp tcp6 udp udp6 udplite udplite6 2>/dev/null)
}
socket_owners() { # INODE PID COMM of every socket that this account may see
    # shellcheck disable=SC2012
    ls -l /proc/[0-9]*/fd 2>/dev/null | awk '
        /^\/proc\// { split($1, part, "/"); pid = part[3]; comm = "" }
        /socket:\[/ {
            if (comm == "") { file = "/proc/" pid "/comm"; getline comm <file; close(file) }
            inode = $NF; gsub(/[^0-9]/, "", inode)
            print inode, pid, comm
        }'
}
collect_net() {
    if have ip; then
        run net.addresses 1048576 10 ip -o addr
        frame net.routes 65536 'ip -4 route show default table all; ip -6 ...' default_routes
    else
        if have ifconfig; then
            frame net.addresses 1048576 'ifconfig -a (as ip -o addr)' addresses_of_ifconfig
        else
            frame net.addresses 1048576 '/proc/net/fib_trie, if_inet6 (as ip -o addr)' \
                addresses_of_proc
        fi
        frame net.routes 65536 '/proc/net/route, ipv6_route (as ip route)' default_routes_of_proc
    fi
    frame net.interfaces 262144 '/sys/class/net/*/flags, operstate, bridge, lower_*' interfaces
    frame net.settings 65536 'grep . /proc/sys/net/ipv4/ip_forward ...' net_settings
    if have ss; then
        run net.sockets 4194304 20 ss -lntupe
    elif have netstat && netstat -lntup >/dev/null 2>&1; then
        run net.sockets 4194304 20 netstat -lntup
    elif have netstat && netstat -lntu >/dev/null 2>&1; then
        run net.sockets 4194304 20 netstat -lntu
        frame net.socket-owners 4194304 'ls -l /proc/[0-9]*/fd; /proc/PID/comm' socket_owners
    else
        none net.sockets no-tool
        frame net.socket-owners 4194304 'ls -l /proc/[0-9]*/fd; /proc/PID/comm' socket_owners
    fi
    frame net.proc-sockets 4194304 'listening lines of /proc/net/tcp, tcp6, udp, udp6 ...' \
        proc_sockets
}
