# The SSH server: what it says is in effect, its files, and the daemons that run.

# pid, uid, program and command line of every SSH server that is not another one's child, found
# through /proc with the shell's own means (a fork per server, not per process of the host). Those
# of containers are named apart: they are other hosts.
sshd_processes() {
    sshd_pids=
    for sshd_p in /proc/[0-9]*; do
        sshd_comm=
        read -r sshd_comm <"$sshd_p/comm" || continue
        case $sshd_comm in
        sshd | dropbear | dropbearmulti | tinysshd*) sshd_pids="$sshd_pids ${sshd_p#/proc/}" ;;
        esac
    done 2>/dev/null
    sshd_namespace=$(readlink /proc/self/ns/pid)
    for sshd_p in $sshd_pids; do
        sshd_parent='' sshd_uid=''
        while read -r sshd_key sshd_value _; do
            case $sshd_key in
            PPid:) sshd_parent=$sshd_value ;;
            Uid:) sshd_uid=$sshd_value && break ;;
            esac
        done <"/proc/$sshd_p/status"
        case " $sshd_pids " in *" $sshd_parent "*) continue ;; esac
        case $(readlink "/proc/$sshd_p/ns/pid") in
        "$sshd_namespace" | '') ;;
        *) echo "in a container: $sshd_p" && continue ;;
        esac
        printf '%s\t%s\t%s\t%s\n' "$sshd_p" "$sshd_uid" "$(readlink "/proc/$sshd_p/exe")" \
            "$(tr '\000\n' '  ' <"/proc/$sshd_p/cmdline")"
    done 2>/dev/null
    if [ -r /proc/1/comm ]; then echo 'all processes are visible'; fi
}
sshd_programs() { # existing SSH servers, one a line
    for sshd_p in sshd dropbear tinysshd; do command -v "$sshd_p"; done
    for sshd_p in /usr/sbin/sshd /usr/local/sbin/sshd /opt/*/sbin/sshd; do
        [ -x "$sshd_p" ] && echo "$sshd_p"
    done
    true
}
sshd_version() { # -V is an error before 9.2, and the error names the version
    bounded 5 "$sshd_program" -V 2>&1 | grep OpenSSH
}
# Match blocks are judged from the files: the connection asked about here is one from a far address
# (192.0.2.1 is nobody's, RFC 5737). Without a specification a Match block is an error.
sshd_effective() {
    bounded 10 "$sshd_program" -T \
        -C user=root,host=192.0.2.1,addr=192.0.2.1,laddr=192.0.2.2,lport=22 ||
        bounded 10 "$sshd_program" -T -C user=root,host=192.0.2.1,addr=192.0.2.1
}
sshd_included() { # files that Include names elsewhere than in the usual folder
    for sshd_f in $(sed -n 's/^[[:space:]]*[Ii][Nn][Cc][Ll][Uu][Dd][Ee][[:space:]=]*//p' "$1" |
        tr -d '"'); do
        case $sshd_f in
        /*) ;;
        *) sshd_f=/etc/ssh/$sshd_f ;;
        esac
        case $sshd_f in */sshd_config.d/*) continue ;; esac
        for sshd_g in $sshd_f; do
            case $sshd_g in *shadow* | *_key) continue ;; esac
            file "$sshd_g"
        done
    done
}
sshd_times() {
    stat -c '%Y %n' /etc/ssh/sshd_config /etc/ssh/sshd_config.d /etc/ssh/sshd_config.d/* \
        /usr/etc/ssh/sshd_config /usr/etc/ssh/sshd_config.d /usr/etc/ssh/sshd_config.d/* \
        /run/sshd.pid 2>/dev/null
    true
}
collect_sshd() {
    frame sshd.programs 4096 'command -v sshd dropbear tinysshd' sshd_programs
    sshd_running=$(sshd_processes)
    frame sshd.processes 65536 '/proc/*/comm, status, exe, cmdline of SSH servers' \
        sshd_echo "$sshd_running"
    # The program that runs, which one built by hand may have put in another place.
    sshd_program=$(echo "$sshd_running" |
        awk -F'\t' '$2 == 0 && $3 ~ /^\/.*\/sshd$/ { print $3; exit }')
    [ -x "$sshd_program" ] || sshd_program=sshd
    for sshd_d in /etc/ssh /usr/etc/ssh /usr/local/etc /usr/local/etc/ssh; do
        if [ "$sshd_d" = /etc/ssh ] || [ -f "$sshd_d/sshd_config" ]; then
            file "$sshd_d/sshd_config"
            directory "$sshd_d/sshd_config.d"
            [ -r "$sshd_d/sshd_config" ] && sshd_included "$sshd_d/sshd_config"
        fi
    done
    if have "$sshd_program"; then
        frame sshd.version 1024 "$sshd_program -V" sshd_version
        frame sshd.effective 65536 "$sshd_program -T -C user=root,host=192.0.2.1,addr=192.0.2.1" \
            sshd_effective
        frame sshd.times 65536 "stat -c '%Y %n' (configuration files, /run/sshd.pid)" sshd_times
        file /etc/pam.d/sshd 65536
    fi
}
sshd_echo() { printf '%s\n' "$1"; }
