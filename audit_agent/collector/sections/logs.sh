# Logs: what writes, rotates and keeps them, and how far back they reach. Of what the logs say
# only time stamps leave the host.

# The trees that logs lie in, and what rotates them; those that are not there are left out.
logs_trees="/var/log /run/log/journal /www/wwwlogs
    /usr/local/nginx/logs /usr/local/openresty/nginx/logs /usr/local/apache2/logs
    /usr/local/apache/logs /usr/local/tengine/logs"
logs_rotation="/var/lib/logrotate /var/lib/logrotate.status /var/lib/misc/logrotate.status
    /etc/logrotate.conf /etc/logrotate.d /usr/etc/logrotate.conf /usr/etc/logrotate.d
    /etc/cron.daily /etc/cron.hourly /etc/cron.weekly /etc/periodic/daily"

# One line a file: mode, uid, gid, size, links, mtime (epoch), path. A name with a newline
# in it could forge a line, so such a file is left out. What find itself says of trees that it may
# not enter stands among the lines.
logs_files() {
    bounded 30 find -H "$@" -maxdepth 4 \( -name "*$nl*" -o -path /var/log/pods \) -prune -o \
        -exec stat -c '%A %u %g %s %h %Y %n' {} + 2>&1
    logs_status=$?
    [ "$logs_status" -eq 1 ] || return "$logs_status"
}

# Which files to look into: of each log the oldest two by time, the oldest by name, the first after
# every stretch of time without a file, and the newest. Lines "first PATH" or "both PATH".
logs_pick() {
    find -H "$@" -maxdepth 4 -name "*$nl*" -prune -o -type f \( \
        -name 'auth.log*' -o -name 'secure*' -o -name 'authlog*' -o -name 'syslog*' \
        -o -name 'messages*' -o -name 'audit.log*' -o -name 'sudo*' -o -name '*access*' \
        -o -name 'named*' -o -name 'query*' -o -name 'unbound*' -o -name 'dnsmasq*' \
        -o -name 'ufw.log*' -o -name 'iptables*' -o -name 'everything*' \
        -o -path '/www/wwwlogs/*' \
        \) -size +0 -exec stat -c '%Y %n' {} + 2>/dev/null | sort -n | awk '
    function family(path) {
        sub(/\.(gz|xz|zst|bz2|lz4|Z)$/, "", path)
        if (path ~ /[-._][0-9][-0-9T_.]*(\.log)?$/) {
            tail = path ~ /\.log$/ ? ".log" : ""
            sub(/[-._][0-9][-0-9T_.]*(\.log)?$/, "", path)
            if (path !~ /\.log$/) path = path tail
        }
        return path
    }
    function serial(path) { # the larger, the older: a number counts up, a date counts down
        sub(/^.*\//, "", path)
        sub(/\.(gz|xz|zst|bz2|lz4|Z)$/, "", path)
        if (!match(path, /[-._][0-9][-0-9T_.]*(\.log)?$/)) return -1e18
        path = substr(path, RSTART + 1)
        gsub(/[^0-9]/, "", path)
        return length(path) >= 6 ? -substr(path "00000000000000", 1, 14) : path + 0
    }
    {
        mtime = $1
        path = $0
        sub(/^[0-9]+ /, "", path)
        f = family(path)
        i = ++count[f]
        paths[f, i] = path
        if (i <= 2 || mtime - last[f] > 691200) want[f, i] = ++wanted[f] <= 16
        last[f] = mtime
        s = serial(path)
        if (i == 1 || s > most[f]) { most[f] = s; oldest[f] = i }
        order[NR] = f
    }
    END {
        for (n = NR; n > 0; n--) {
            f = order[n]
            if (f in done || left >= 40) continue
            done[f] = 1
            left++
            want[f, oldest[f]] = 1
            for (i = 1; i < count[f]; i++) if (want[f, i]) print "first " paths[f, i]
            print "both " paths[f, count[f]]
        }
    }' | head -n 200
}

# The start and the end of each picked file, every piece after a line that names it.
logs_pieces() {
    uptime_now
    logs_end=$((now + 2500)) # a quarter of a minute is a long time for 200 files
    while read -r logs_what logs_f; do
        uptime_now
        if [ "$now" -gt "$logs_end" ]; then
            echo "$N timeout $logs_f"
            continue
        fi
        case $logs_f in
        *.gz | *.Z) logs_tool=gzip ;;
        *.xz) logs_tool=xz ;;
        *.zst) logs_tool=zstd ;;
        *.bz2) logs_tool=bzip2 ;;
        *.lz4) logs_tool=lz4 ;;
        *) logs_tool= ;;
        esac
        if ! [ -r "$logs_f" ]; then
            echo "$N denied $logs_f"
        elif [ -z "$logs_tool" ]; then
            echo "$N first $logs_f"
            cut_at 4096 <"$logs_f"
            echo
            if [ "$logs_what" = both ]; then
                echo "$N last $logs_f"
                tail -c 4096 <"$logs_f"
                echo
            fi
        elif have "$logs_tool"; then
            echo "$N first $logs_f"
            "$logs_tool" -dc <"$logs_f" | cut_at 4096
            echo
        else
            echo "$N no-tool $logs_f"
        fi
    done 2>/dev/null
}

# Reduces the pieces to lines: first|last, tab, time stamp or "-", tab, path. Nothing but digits,
# the names of months and days, and the marks between them can pass. (The nonce is handed over in
# the environment: the words of a command are shown to every user of the host.)
logs_stamps() {
    tr -d '\000' | LOGS_MARK=$N awk '
    function stamp(s) {
        sub(/^<[0-9]+>(1 )?/, "", s)
        if (match(s, /^[A-Z][a-z][a-z] [ 0-9][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9]/))
            return substr(s, 1, RLENGTH)
        if (match(s, /^\[?[12][0-9][0-9][0-9][-\/][01][0-9][-\/][0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-6][0-9]([.,][0-9]+)?(Z| ?[-+][0-2][0-9]:?[0-5][0-9])?/))
            return substr(s, 1, RLENGTH)
        if (match(s, /(^| )msg=audit\([0-9]+\.[0-9]+/)) {
            s = substr(s, RSTART, RLENGTH)
            sub(/^.*msg=/, "", s)
            return s
        }
        if (match(s, /\[[0-3][0-9]\/[A-Z][a-z][a-z]\/[12][0-9][0-9][0-9]:[0-2][0-9]:[0-5][0-9]:[0-6][0-9] [-+][0-9][0-9][0-9][0-9]\]/))
            return substr(s, RSTART, RLENGTH)
        if (match(s, /^\[[A-Z][a-z][a-z] [A-Z][a-z][a-z] [ 0-9][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]+)? [12][0-9][0-9][0-9]\]/))
            return substr(s, 1, RLENGTH)
        if (match(s, /^[12][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9](\.[0-9]+)? /))
            return substr(s, 1, RLENGTH - 1)
        if (match(s, /^\{.*"[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]+)?(Z|[-+][0-2][0-9]:?[0-5][0-9])?"/)) {
            match(s, /"[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]+)?(Z|[-+][0-2][0-9]:?[0-5][0-9])?"/)
            return substr(s, RSTART + 1, RLENGTH - 2)
        }
        return ""
    }
    function flush() {
        if (what == "first" || what == "last") print what "\t" (found == "" ? "-" : found) "\t" path
        else if (what != "") print what "\t-\t" path
    }
    BEGIN { mark = ENVIRON["LOGS_MARK"] }
    substr($0, 1, length(mark)) == mark {
        flush()
        what = $2
        path = $0
        sub(/^[^ ]+ [^ ]+ /, "", path)
        found = ""
        next
    }
    what == "last" || found == "" {
        s = stamp($0)
        if (s != "") found = s
    }
    END { flush() }'
}

logs_records() { logs_pick "$@" | logs_pieces | logs_stamps; }

# The first and the last entry of the system journal, as microseconds since the epoch.
logs_journal_entry() {
    logs_word=$1
    shift
    bounded 20 journalctl --system -o export --no-pager -q "$@" 2>/dev/null |
        sed -n "/^__REALTIME_TIMESTAMP=[0-9]*\$/{s/^[^=]*=/$logs_word /p;q;}"
}
logs_journal() {
    for logs_f in /var/log/journal/*/system.journal /run/log/journal/*/system.journal; do
        [ -e "$logs_f" ] || continue
        if ! [ -r "$logs_f" ]; then
            echo 'permission denied' >&2 # journalctl would show the user's own entries only
            return 1
        fi
    done
    logs_journal_entry first
    logs_journal_entry last -n 1
}

# Programs that write, ship or rotate logs, by the name that the kernel shows.
logs_processes() {
    logs_namespace=$(readlink /proc/self/ns/pid)
    for logs_f in /proc/[0-9]*; do
        read -r logs_comm <"$logs_f/comm" || continue
        case $logs_comm in
        *syslog* | systemd-journal* | metalog | auditd | cron | crond | anacron | fluent* | \
            filebeat | vector | promtail | ilogtail | loongcollector | td-agent*)
            # What runs in a container keeps the container's logs, not this host's.
            case $(readlink "$logs_f/ns/pid") in "$logs_namespace" | '') ;; *) continue ;; esac
            echo "$logs_comm $(readlink "$logs_f/exe")"
            ;;
        esac
    done 2>/dev/null
    true
}

# Scheduled jobs that name logrotate, or run the folder that its job may lie in.
logs_cron() {
    grep -E 'logrotate|cron\.(hourly|daily|weekly)|periodic/daily' /dev/null /etc/crontab \
        /etc/anacrontab /etc/cron.d/* /var/spool/cron/* /var/spool/cron/crontabs/* \
        /etc/crontabs/* 2>/dev/null
    true
}

# Lines that name a folder of logs and something that deletes, of jobs and of logrotate's scripts.
logs_removers() {
    grep -E '/[a-z]*logs?([^[:alnum:]_.-]|$)' /dev/null /etc/crontab /etc/anacrontab \
        /etc/cron.d/* /etc/cron.hourly/* /etc/cron.daily/* /etc/cron.weekly/* /etc/cron.monthly/* \
        /etc/periodic/*/* /etc/crontabs/* /var/spool/cron/* /var/spool/cron/crontabs/* \
        /etc/logrotate.d/* /etc/systemd/system/*.service /etc/tmpfiles.d/*.conf 2>/dev/null |
        grep -E '[^[:alnum:]_.-](rm|unlink|truncate|tmpwatch|tmpreaper)[[:space:]]|[[:space:]]-delete|^/etc/tmpfiles' |
        redact
    true
}

# logrotate's scripts may name a password; only files that look like it pay for the cutting.
logs_redact() {
    redact <"$1" | sed -e '/mysql\|maria/s/ -p[^ ]\{1,\}/ -p[redacted]/g' \
        -e 's/ \(-u\|--user\)[ =]*[^ :]*:[^ ]*/ \1 [redacted]/g'
}
logs_rotation_file() {
    case "$nl$logs_secretive$nl" in
    *"$nl$1$nl"*)
        frame "file:$1" 262144 "$1 (values of passwords, tokens and keys redacted)" logs_redact "$1"
        ;;
    *) file "$1" ;;
    esac
}
logs_rotation() {
    logs_secretive=$(grep -liE 'pass|secret|token|authori|mysql|maria|curl|wget|://' \
        /etc/logrotate.conf /etc/logrotate.d/* 2>/dev/null)
    logs_rotation_file /etc/logrotate.conf
    directory /etc/logrotate.d logs_rotation_file
    file /usr/etc/logrotate.conf
    logs_includes=$(sed -n 's/^[[:space:]]*include[[:space:]=]\{1,\}\(\/[^[:space:]]*\).*/\1/p' \
        /etc/logrotate.conf /usr/etc/logrotate.conf /etc/logrotate.d/* 2>/dev/null | sort -u)
    logs_n=0
    for logs_f in $logs_includes; do
        [ "$logs_f" != /etc/logrotate.d ] || continue
        logs_n=$((logs_n + 1))
        [ "$logs_n" -le 20 ] || break
        if [ -d "$logs_f" ]; then directory "$logs_f" redacted; else redacted "$logs_f"; fi
    done
    run logs.logrotate.version 1024 5 logrotate --version
    frame logs.cron 65536 'grep logrotate (crontabs)' logs_cron
    frame logs.removers 65536 'grep /log.*rm|-delete (cron, logrotate.d, tmpfiles.d)' logs_removers
    for logs_f in /etc/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
        file "$logs_f/logrotate.timer" 8192
        file "$logs_f/logrotate.service" 8192
    done
    for logs_f in /var/lib/logrotate/status /var/lib/logrotate/logrotate.status \
        /var/lib/logrotate.status /var/lib/misc/logrotate.status; do
        file "$logs_f" 1048576
    done
}

logs_daemons() {
    for logs_f in /etc/systemd /run/systemd /usr/local/lib/systemd /usr/lib/systemd; do
        file "$logs_f/journald.conf" 65536
        directory "$logs_f/journald.conf.d"
    done
    redacted /etc/rsyslog.conf
    directory /etc/rsyslog.d redacted
    redacted /etc/syslog-ng/syslog-ng.conf
    directory /etc/syslog-ng/conf.d redacted
    redacted /etc/syslog.conf
    file /etc/conf.d/syslog 8192
    file /etc/audit/auditd.conf 65536
    if [ -r /proc/1/comm ]; then # else the host hides processes from us (hidepid)
        frame logs.processes 65536 '/proc/*/comm of log and cron daemons, /proc/*/exe' \
            logs_processes
    else
        none logs.processes denied
    fi
}

collect_logs() {
    logs_daemons
    logs_rotation
    set --
    for logs_f in $logs_trees; do [ -e "$logs_f" ] && set -- "$@" "$logs_f"; done
    for logs_f in /var/log/*; do # a folder that was moved to another disk
        [ -h "$logs_f" ] && [ -d "$logs_f" ] && nameable "$logs_f" && set -- "$@" "$logs_f"
    done
    if have stat && have find && [ $# -gt 0 ]; then
        frame logs.records 262144 'time stamps of the first and last lines of log files' \
            logs_records "$@"
        for logs_f in $logs_rotation; do [ -e "$logs_f" ] && set -- "$@" "$logs_f"; done
        frame logs.files 8388608 "find -H $* -maxdepth 4 -exec stat -c '%A %u %g %s %h %Y %n' {} +" \
            logs_files "$@"
    else
        none logs.records no-tool
        none logs.files no-tool
    fi
    if have journalctl; then
        frame logs.journal 4096 'journalctl --system -o export (time of the first and last entry)' \
            logs_journal
    else
        none logs.journal no-tool
    fi
}
