# What keeps the clock: the daemons that run, and what they say. They are asked over the loopback
# address, never over a socket file, which the client would have to create.
clock_processes() { # pid and name of time services, then whether every process was visible
    for clock_p in /proc/[0-9]*; do
        clock_comm=
        read -r clock_comm <"$clock_p/comm" || continue
        case $clock_comm in
        chronyd | ntpd | ntpd-rs | openntpd | systemd-timesyn* | ptp4l | phc2sys | timemaster | \
            htpdate | vmtoolsd | VBoxService | prl_tools* | vmware-guestd)
            echo "${clock_p#/proc/} $clock_comm"
            ;;
        esac
    done 2>/dev/null
    if [ -r /proc/1/comm ]; then echo 'all processes are visible'; fi
}
clock_timesync() {
    stat -c '%Y %n' /run/systemd/timesync /run/systemd/timesync/synchronized \
        /var/lib/systemd/timesync/clock 2>/dev/null
    true
}
clock_jobs() { # programs that set the clock now and then
    grep -E 'ntpdate|sntp|chronyd +-[a-z]*q|ntpd +-[a-z]*q|rdate|htpdate|hwclock +(-s|--hctosys)' \
        /dev/null /etc/crontab /etc/cron.d/* /etc/cron.hourly/* /etc/cron.daily/* /var/spool/cron/* \
        /var/spool/cron/*/* /etc/crontabs/* /etc/rc.local /etc/rc.d/rc.local \
        /etc/systemd/system/*.service 2>/dev/null
    for clock_f in /var/spool/cron /var/spool/cron/crontabs /var/spool/cron/tabs /etc/cron.d; do
        if [ -e "$clock_f" ] && [ ! -r "$clock_f" ]; then return 0; fi
    done
    echo 'all crontabs are visible'
}
clock_agents() { # what sets a guest's clock without a time service
    for clock_f in /sys/bus/vmbus/drivers/hv_util*; do
        [ -e "$clock_f" ] && echo "$clock_f"
    done
    have vmware-toolbox-cmd && bounded 3 vmware-toolbox-cmd timesync status
    true
}
# Asking timedatectl starts a service, so it comes last: where a daemon runs and did not answer.
clock_timedatectl() {
    bounded 5 timedatectl show -p NTPSynchronized 2>/dev/null || bounded 5 timedatectl
}
clock_ask() { # COMMAND...: sets clock_answer and clock_status
    clock_answer=$(bounded 5 "$@" 2>/dev/null)
    clock_status=$?
}
collect_clock() {
    clock_running=$(clock_processes)
    frame clock.processes 8192 '/proc/*/comm of time services' clock_given "$clock_running" 0
    clock_status=0
    case $clock_running in
    *chronyd*)
        clock_ask chronyc -n -h 127.0.0.1 tracking
        frame clock.chrony 8192 'chronyc -n -h 127.0.0.1 tracking' \
            clock_given "$clock_answer" "$clock_status"
        run clock.chrony-sources 16384 5 chronyc -n -h 127.0.0.1 sources
        ;;
    *ntpd*)
        clock_ask ntpq -pn
        frame clock.ntp 16384 'ntpq -pn' clock_given "$clock_answer" "$clock_status"
        ;;
    *systemd-timesyn*)
        frame clock.timesync 1024 "stat -c '%Y %n' /run/systemd/timesync/synchronized" \
            clock_timesync
        ;;
    esac
    if [ "$clock_status" -ne 0 ] && have timedatectl; then
        frame clock.timedatectl 4096 'timedatectl show -p NTPSynchronized' clock_timedatectl
    fi
    frame clock.jobs 16384 'ntpdate and the like in crontabs and start-up scripts' clock_jobs
    frame clock.agents 4096 'time sources of the hypervisor' clock_agents
    if have busybox; then run clock.kernel 4096 3 busybox adjtimex; fi
}
clock_given() { # TEXT STATUS: output that was kept in a variable
    printf '%s\n' "$1"
    return "$2"
}
