# The collector: reads, never writes; assembled by audit_agent.collector with one fragment a topic.
# POSIX sh only (dash, bash, busybox, mksh, ksh93): no local, no [[ ]], no here-documents (some
# shells put those into temporary files). Commands get /dev/null as standard input, because the
# script itself may be arriving there.
#
# What it prints, every line of ours marked with the nonce:
#   AUDIT-AGENT-STREAM/1 NONCE VERSION plain|gzip
#   @NONCE begin NAME           then one line: the command; then its raw output; a newline; then
#   @NONCE end CENTISECONDS LIMIT   then its standard error and a line "@NONCE status N"
#   @NONCE close
#   @NONCE none NAME GAP        a thing that is not there or cannot be read (absent, denied ...)
#   @NONCE done

LC_ALL=C
LANG=C
export LC_ALL LANG
unset LANGUAGE
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin:$PATH
export PATH
umask 077
nl='
'

# ksh93 waits for the whole of a pipeline only under pipefail, and frame() needs that.
# shellcheck disable=SC3040 # only ksh93 comes here
case ${KSH_VERSION:-} in *93*) set -o pipefail ;; esac

have() { command -v "$1" >/dev/null 2>&1; }

# Be the least important thing on the host.
if have renice; then renice -n 19 -p $$ >/dev/null 2>&1; fi
if have ionice; then ionice -c 3 -p $$ >/dev/null 2>&1; fi

# cut BYTES: at most so many bytes of standard input.
if head -c 1 </dev/null >/dev/null 2>&1; then
    cut_at() { head -c "$1"; }
else
    cut_at() { cat; } # the controller has a limit of its own
fi

# bounded SECONDS COMMAND...: with the time limit where the host can set one.
if timeout 5 true >/dev/null 2>&1; then
    if timeout -k 1 5 true >/dev/null 2>&1; then
        bounded() { bounded_s=$1; shift; timeout -k 2 "$bounded_s" "$@"; }
    else
        bounded() { bounded_s=$1; shift; timeout "$bounded_s" "$@"; }
    fi
elif timeout -t 5 true >/dev/null 2>&1; then # busybox before 1.30
    bounded() { bounded_s=$1; shift; timeout -t "$bounded_s" "$@"; }
else
    bounded() { shift; "$@"; }
fi

uptime_now() { # sets now to centiseconds since boot, without a fork
    now=0
    if read -r now _ </proc/uptime; then
        now=${now%.*}${now#*.}
    fi 2>/dev/null
}

nameable() { # a name that can stand on one line of the stream, whatever echo makes of it
    case $1 in *\\* | *"$nl"*) return 1 ;; esac
}

none() { # NAME GAP
    nameable "$1" && echo "@$N none $1 $2"
}

# frame NAME LIMIT WORDS COMMAND...: one section. WORDS tell the reader what ran. One byte more
# than LIMIT is let through, so that the controller sees that there was more.
frame() {
    nameable "$1" || return 0
    frame_bytes=$2 frame_limit=$(($2 + 1))
    uptime_now
    frame_start=$now
    echo "@$N begin $1"
    echo "$3"
    shift 3
    frame_rest=$(
        {
            {
                {
                    "$@" </dev/null 3>&- 5>&- 6>&-
                    echo "$nl@$N status $?" >&5
                } 2>&1 >&6 | sed -n '1,40p' # reads all, so that nothing dies of SIGPIPE
            } 6>&1 >&5 | cut_at "$frame_limit" >&3
        } 5>&1
    )
    uptime_now
    echo "$nl@$N end $((now - frame_start)) $frame_bytes"
    echo "$frame_rest"
    echo "@$N close"
}

# run NAME LIMIT SECONDS COMMAND...: one program. 127 is what a shell answers for a missing one.
run() {
    run_name=$1 run_limit=$2 run_seconds=$3
    shift 3
    if have "$1"; then
        frame "$run_name" "$run_limit" "$*" bounded "$run_seconds" "$@"
    else
        none "$run_name" no-tool
    fi
}

# gap_of PATH: says in $gap why PATH cannot be read: absent only if a searchable directory lacks it.
gap_of() {
    gap=denied
    if [ -e "$1" ] || [ -h "$1" ]; then
        return
    fi
    gap_dir=${1%/*}
    while [ -n "$gap_dir" ] && [ ! -e "$gap_dir" ]; do gap_dir=${gap_dir%/*}; done
    if [ -x "${gap_dir:-/}" ]; then gap=absent; fi
}

# file PATH [LIMIT]: a file's bytes. Never called for anything that may hold a secret.
file() {
    if [ -f "$1" ] && [ -r "$1" ]; then
        nameable "$1" || return 0
        echo "@$N begin file:$1"
        echo "$1"
        cut_at $((${2:-262144} + 1)) <"$1" 2>/dev/null
        echo "$nl@$N end 0 ${2:-262144}$nl@$N status $?$nl@$N close"
    else
        gap_of "$1"
        none "file:$1" "$gap"
    fi
}

# redacted PATH [LIMIT]: a configuration file with the values of passwords, tokens and keys cut.
redact() {
    sed -e 's/\([Pp][Aa][Ss][Ss][Ww]*[Oo]*[Rr]*[Dd]*[^ 	=:"]*["]*[ 	=:]\{1,\}\).*/\1[redacted]/' \
        -e 's/\([Ss][Ee][Cc][Rr][Ee][Tt][^ 	=:"]*["]*[ 	=:]\{1,\}\).*/\1[redacted]/' \
        -e 's/\([Tt][Oo][Kk][Ee][Nn][^ 	=:"]*["]*[ 	=:]\{1,\}\).*/\1[redacted]/' \
        -e 's/\([Aa][Uu][Tt][Hh][Oo][Rr][Ii][Zz][Aa][Tt][Ii][Oo][Nn]["]*[ 	=:]\{1,\}\).*/\1[redacted]/' \
        -e 's,\(://[^ /:@]*:\)[^ /@]*@,\1[redacted]@,g'
}
redact_file() { redact <"$1"; }
redacted() {
    if [ -f "$1" ] && [ -r "$1" ]; then
        frame "file:$1" "${2:-262144}" "$1 (values of passwords, tokens and keys redacted)" \
            redact_file "$1"
    else
        gap_of "$1"
        none "file:$1" "$gap"
    fi
}

# modes NAME PATH...: mode, owner and size of files, never their content.
modes() {
    modes_name=$1
    shift
    frame "$modes_name" 262144 "ls -ldnL $*" modes_of "$@"
}
modes_of() { # a path that is not there is left out
    ls -ldnL "$@" 2>/dev/null
    true
}

# directory PATH [READER]: its listing, then each regular file directly in it (at most 400).
directory() {
    if [ -d "$1" ] && [ -r "$1" ] && [ -x "$1" ]; then
        frame "dir:$1" 262144 "ls -lan $1" ls -lan "$1"
        directory_n=0
        for directory_f in "$1"/*; do
            [ -f "$directory_f" ] || continue
            directory_n=$((directory_n + 1))
            [ "$directory_n" -le 400 ] || break
            "${2:-file}" "$directory_f"
        done
    elif [ -d "$1" ]; then
        none "dir:$1" denied
    else
        gap_of "$1"
        none "dir:$1" "$gap"
    fi
}
