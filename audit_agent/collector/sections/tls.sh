# Certificates that the configuration of nginx, Apache, HAProxy and Postfix names. The configuration
# is found, its includes are followed, and the certificate files it names are read in the same
# round trip. Of those files only certificates leave the host; of key files only mode and owner.
# Nothing is asked of the servers themselves (`nginx -t` opens log files).
#
#   tls.processes      PROGRAM  ROOT  COMMAND LINE   ROOT: host, other (a container) or unknown
#   tls.configuration  main DIALECT BASE FILE        a configuration that was scanned
#                      absent|denied DIALECT FILE    one that was looked for
#                      KIND DIALECT FILE LINE PATH   a name in it: include, list, certificate,
#                                                    chain, key, bundle (certificate and key)
#                      unresolved ...                a name that holds a variable
#                      capped WHAT                   more than is followed
#   file:FILE          each configuration file, without credentials
#   certificates:PATH  line n is line n of PATH where it belongs to a certificate, else empty
#   tls.modes, mode:PATH, tls.ways                   modes of the files, and why there is none

tls_ifs=$IFS
tls_tab=$(printf '\t')

# One pass over configuration files: which paths do they name? Operands: d=DIALECT, base=DIRECTORY
# for relative paths, files.
tls_scan='
function out(kind, path) {
    if (path == "" || index(path, "\\")) return
    if (path !~ /^\//) {
        if (base == "-" || path ~ /^[a-z0-9]+:/ || path ~ /^@/) return
        path = (base == "/" ? "" : base) "/" path
    }
    print (index(path, "$") ? "unresolved" : kind) "\t" d "\t" file "\t" number "\t" path
}
function value(s, stop,    q, k) {
    q = substr(s, 1, 1)
    if (q == "\"" || q == "\047") {
        s = substr(s, 2)
        k = index(s, q)
        return k ? substr(s, 1, k - 1) : s
    }
    match(s, stop)
    return substr(s, 1, RLENGTH)
}
function nginx(s,    w) {
    s = held s
    held = ""
    sub(/(^|[ \t;{}])#.*/, "", s)
    while (match(s, /(^|[;{}])[ \t]*(ssl_certificate_key|ssl_certificate|include)([ \t]+|$)/)) {
        w = substr(s, RSTART, RLENGTH)
        s = substr(s, RSTART + RLENGTH)
        gsub(/[;{} \t]/, "", w)
        if (s == "") { held = w " "; return }
        out(w == "include" ? w : w == "ssl_certificate" ? "certificate" : "key", \
            value(s, "^[^ \t;{}]*"))
    }
}
function apache(s,    w) {
    s = held s
    held = ""
    if (s ~ /\\$/) { held = substr(s, 1, length(s) - 1); return }
    sub(/^[ \t]+/, "", s)
    if (s ~ /^#/ || !match(s, /^[A-Za-z]+[ \t]+/)) return
    w = tolower(substr(s, 1, RLENGTH))
    s = substr(s, RLENGTH + 1)
    sub(/[ \t]+$/, "", w)
    if (w == "define") {
        w = value(s, "^[^ \t]*")
        s = substr(s, length(w) + 1)
        sub(/^[ \t]+/, "", s)
        defined[w] = value(s, "^[^ \t]*")
        return
    }
    s = value(s, "^[^ \t]*")
    while (match(s, /[$][{][A-Za-z0-9_]+[}]/)) {
        if (!((q = substr(s, RSTART + 2, RLENGTH - 3)) in defined)) break
        s = substr(s, 1, RSTART - 1) defined[q] substr(s, RSTART + RLENGTH)
        if (length(s) > 4096) return
    }
    if (w == "serverroot") base = s
    else if (w == "include" || w == "includeoptional") out("include", s)
    else if (w == "sslcertificatefile") out("certificate", s)
    else if (w == "sslcertificatechainfile") out("chain", s)
    else if (w == "sslcertificatekeyfile") out("key", s)
}
function haproxy(s,    w, n, k, kept) {
    sub(/(^|[ \t])#.*/, "", s)
    gsub(/["\047]/, "", s)
    sub(/^[ \t]+/, "", s)
    n = split(s, w, /[ \t]+/)
    if (w[1] == "crt-base") base = w[2]
    else if (w[1] == "key-base") keys = w[2]
    else if (w[1] == "bind" || w[1] == "load" || w[1] == "ssl-f-use")
        for (k = 2; k < n; k++) {
            if (w[k] == "crt") out("bundle", w[k + 1])
            else if (w[k] == "crt-list" && w[k + 1] ~ /^\//) out("list", w[k + 1])
            else if (w[k] == "key" && w[1] == "load") {
                kept = base
                if (keys != "") base = keys
                out("key", w[k + 1])
                base = kept
            }
        }
}
function crtlist(s,    w) {
    sub(/^[ \t]+/, "", s)
    if (s !~ /^#/ && split(s, w, /[ \t]+/)) out("bundle", w[1])
}
function postfix(s) { # a logical line goes on where the next one begins with white space
    if (s ~ /^[ \t]*(#|$)/) return
    if (s ~ /^[ \t]/) { held = held s; return }
    parameter(held)
    held = s
    started = number
}
function parameter(s,    k, name) {
    if (file ~ /master\.cf$/) {
        while (match(s, /smtpd_tls_[a-z]*(cert_file|key_file|chain_files)[ \t]*=[ \t]*[^ \t}]*/)) {
            name = substr(s, RSTART, RLENGTH)
            s = substr(s, RSTART + RLENGTH)
            k = index(name, "=")
            keep(substr(name, 1, k - 1), substr(name, k + 1), ++overrides)
        }
        return
    }
    if ((k = index(s, "="))) keep(substr(s, 1, k - 1), substr(s, k + 1), "")
}
function keep(name, text, mark) {
    gsub(/[ \t]/, "", name)
    gsub(/^[ \t]+|[ \t]+$/, "", text)
    values[name mark] = text
    if (name ~ /^smtpd_tls_[a-z]*(cert_file|key_file|chain_files)$/) {
        kinds[name mark] = name ~ /cert/ ? "certificate" : name ~ /key/ ? "key" : "bundle"
        files[name mark] = file
        numbers[name mark] = started
    }
}
function expanded(s,    rounds, name) {
    while (match(s, /[$]([A-Za-z0-9_]+|[{][A-Za-z0-9_]+[}]|[(][A-Za-z0-9_]+[)])/)) {
        name = substr(s, RSTART + 1, RLENGTH - 1)
        gsub(/[{}()]/, "", name)
        if (!(name in values) || ++rounds > 20) return s
        s = substr(s, 1, RSTART - 1) values[name] substr(s, RSTART + RLENGTH)
    }
    return s
}
function parameters(    name, w, n, k) {
    if (!("config_directory" in values)) values["config_directory"] = base
    base = "queue_directory" in values ? values["queue_directory"] : "/var/spool/postfix"
    for (name in kinds) {
        file = files[name]
        number = numbers[name]
        n = split(expanded(values[name]), w, /[ \t,]+/)
        for (k = 1; k <= n; k++) if (w[k] != "none") out(kinds[name], w[k])
    }
}
BEGIN {
    for (i = 1; i < ARGC; i++) {
        file = ARGV[i]
        if (file ~ /^d=/) { d = substr(file, 3); continue }
        if (file ~ /^base=/) { base = substr(file, 6); continue }
        number = 0
        held = ""
        while ((getline line < file) > 0) {
            number++
            sub(/\r$/, "", line)
            if (d == "nginx") nginx(line)
            else if (d == "apache") apache(line)
            else if (d == "haproxy") haproxy(line)
            else if (d == "crt-list") crtlist(line)
            else postfix(line)
        }
        if (d == "postfix") { parameter(held) }
        close(file)
    }
    if (d == "postfix") parameters()
}'

# Configuration files as sections. A private key that stands in one is cut, whole; so is whatever
# looks like the inside of one, as in a key file that a wide include takes in; and a file with
# control characters, such as a key in DER, is no configuration.
tls_send='
function without_keys(line,    bare) {
    bare = line
    gsub(/[ \t\r#;]/, "", bare)
    if (line ~ /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/) cut = 1
    packed = (packed || length(bare) >= 40) && bare ~ /^[A-Za-z0-9+\/=]+$/
    if (!cut) return packed ? "[redacted]" : line
    if (line ~ /-----END [A-Z0-9 ]*PRIVATE KEY-----/) {
        sub(/.*-----END [A-Z0-9 ]*PRIVATE KEY-----/, "", line)
        cut = line ~ /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/
    }
    return "[redacted]"
}
BEGIN {
    control = "[\001-\010\016-\037]"
    for (i = 1; i < ARGC; i++) {
        m = bytes = cut = packed = binary = 0
        while ((got = (getline line < ARGV[i])) > 0) {
            bytes += length(line) + 1
            if (line ~ control) binary = 1
            if (bytes <= limit) kept[++m] = without_keys(line)
        }
        close(ARGV[i])
        if (got < 0 || binary || bytes > limit) {
            print "@" n " none file:" ARGV[i] " " (bytes > limit ? "truncated" : "failed")
            continue
        }
        print "@" n " begin file:" ARGV[i]
        print ARGV[i] " (without credentials)"
        for (k = 1; k <= m; k++) print kept[k]
        print "\n@" n " end 0 " limit + 4096 "\n@" n " status 0\n@" n " close"
    }
}'

# Certificates as sections. A block is sent only if it begins as a certificate does (a SEQUENCE in a
# SEQUENCE; keys hold an INTEGER or a short SEQUENCE there), and only as far as that certificate
# says it goes: nothing that was glued to it by mistake leaves the host.
tls_certificates='
function six(s, k) { return index(alphabet, substr(s, k, 1)) - 1 }
function size(s,    b, c, k) { # of a certificate that begins so, in base64 characters; else 0
    if (length(s) < 8) return 0
    for (k = 1; k <= 8; k++) if ((c[k] = six(s, k)) < 0) return 0
    for (k = 0; k < 2; k++) {
        b[3 * k] = c[4 * k + 1] * 4 + int(c[4 * k + 2] / 16)
        b[3 * k + 1] = c[4 * k + 2] % 16 * 16 + int(c[4 * k + 3] / 4)
        b[3 * k + 2] = c[4 * k + 3] % 4 * 64 + c[4 * k + 4]
    }
    if (b[0] != 48) return 0
    if (b[1] == 130 && b[4] == 48 && (b[5] == 129 || b[5] == 130))
        return int((b[2] * 256 + b[3] + 6) / 3) * 4
    if (b[1] == 129 && b[3] == 48 && b[4] == 129) return int((b[2] + 5) / 3) * 4
    return 0
}
function show(line) {
    sub(/[ \t\r]+$/, "", line)
    if (line ~ /-----BEGIN .*PRIVATE KEY-----/) {
        inside = 0
        return "[a private key, not collected]"
    }
    if (line ~ /^-----BEGIN ((X509|TRUSTED) )?CERTIFICATE-----$/) {
        inside = 1
        left = -1
        return line
    }
    if (!inside) return ""
    if (line ~ /^-----END ((X509|TRUSTED) )?CERTIFICATE-----$/) {
        inside = 0
        return line
    }
    gsub(/[ \t]/, "", line)
    if (left < 0) left = size(line)
    if (!left || line !~ /^[A-Za-z0-9+\/]+=*$/) {
        left = 0
        return ""
    }
    line = substr(line, 1, left)
    left -= length(line)
    return line
}
BEGIN {
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (i = 1; i < ARGC; i++) {
        print "@" n " begin certificates:" ARGV[i]
        print ARGV[i] " (only the certificates in it)"
        inside = 0
        while ((got = (getline line < ARGV[i])) > 0) print show(line)
        close(ARGV[i])
        print "\n@" n " end 0 2097152\n@" n " status " (got < 0 ? 1 : 0) "\n@" n " close"
    }
}'

# Beyond what every configuration file is redacted for: names that only look like secrets are
# spared (proxy_pass), and the forms in which these servers hold secrets are cut.
tls_spare() {
    sed -e 's/proxy_pass\([ 	]\)/proxy_p@ss\1/g' -e 's/fastcgi_pass\([ 	]\)/fastcgi_p@ss\1/g' \
        -e 's/uwsgi_pass\([ 	]\)/uwsgi_p@ss\1/g' -e 's/scgi_pass\([ 	]\)/scgi_p@ss\1/g' \
        -e 's/grpc_pass\([ 	]\)/grpc_p@ss\1/g' -e 's/memcached_pass\([ 	]\)/memcached_p@ss\1/g'
}
tls_redact() {
    sed -e 's/_p@ss\([ 	]\)/_pass\1/g' \
        -e 's/\(stats[ 	]\{1,\}auth[ 	]\{1,\}[^: 	]*:\).*/\1[redacted]/' \
        -e 's/\(secure_link_md5[ 	]\{1,\}\).*/\1[redacted]/' \
        -e 's/\([Aa][Pp][Ii][-_]\{0,1\}[Kk][Ee][Yy][^ 	=:"]*["]*[ 	=:]\{1,\}\).*/\1[redacted]/' \
        -e 's/\([Cc][Oo][Oo][Kk][Ii][Ee][ 	]\{1,\}["].*\)/[redacted]/' \
        -e 's/^\([^ 	:#]*:\)[${][A-Za-z0-9].*/\1[redacted]/'
}

tls_row() { # WORD...: one more line of tls.configuration
    IFS=$tls_tab
    tls_rows="$tls_rows$*$nl"
    IFS=$tls_ifs
}

# Which servers run here? Workers are left out. The command line only of those whose options
# name their configuration.
tls_observe() {
    for tls_p in /proc/[0-9]*; do
        { read -r tls_comm <"$tls_p/comm"; } 2>/dev/null || continue
        case $tls_comm in
        nginx | openresty | apache2 | httpd | haproxy | master) tls_line=yes ;;
        caddy | traefik | envoy | lighttpd | h2o | dovecot | stunnel* | exim* | java) tls_line='' ;;
        *) continue ;;
        esac
        tls_of=''
        {
            read -r tls_stat <"$tls_p/stat"
            tls_stat=${tls_stat##*") "} # after the name: state, parent ...
            tls_stat=${tls_stat#* }
            read -r tls_of <"/proc/${tls_stat%% *}/comm"
        } 2>/dev/null
        [ "$tls_of" != "$tls_comm" ] || continue
        if [ -n "$tls_line" ]; then
            tls_line=$({ tr '\000\011\012' '   ' <"$tls_p/cmdline"; } 2>/dev/null)
        fi
        case $tls_comm/$tls_line in
        master/*postfix*) ;;
        master/*) continue ;;
        esac
        tls_at=unknown
        if [ -e "$tls_p/root/." ]; then
            tls_at=other
            # shellcheck disable=SC3013 # not in POSIX, and in every shell this runs in
            [ ! "$tls_p/root/." -ef / ] || tls_at=host
        fi
        printf '%s\t%s\t%s\n' "$tls_comm" "$tls_at" "$tls_line"
    done
}

# tls_command_line PROGRAM WORD...: the configuration that a running server was told to use.
tls_command_line() {
    tls_comm=$1 tls_exe='' tls_prefix='' tls_named=''
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        -c | -f) tls_named=$tls_named$tls_tab${2-} ;;
        -p | -d) tls_prefix=${2-} ;;
        /*) [ -n "$tls_exe" ] || tls_exe=$1 ;;
        esac
        shift
    done
    case $tls_comm:$tls_exe in
    haproxy:* | master:*) ;;
    *:*/sbin/*) : "${tls_prefix:=${tls_exe%/sbin/*}}" ;;
    *:*/bin/*) : "${tls_prefix:=${tls_exe%/bin/*}}" ;;
    esac
    tls_named=${tls_named#"$tls_tab"}
    case $tls_comm:$tls_named in
    nginx: | openresty:) tls_named=$tls_prefix/conf/nginx.conf && [ -f "$tls_named" ] || return 0 ;;
    apache2: | httpd:) tls_named=$tls_prefix/conf/httpd.conf && [ -f "$tls_named" ] || return 0 ;;
    haproxy: | master:) return 0 ;;
    haproxy:* | *:/*) ;; # HAProxy may have several
    *) tls_named=$tls_prefix/$tls_named ;;
    esac
    case $tls_comm in
    nginx | openresty) tls_named=nginx$tls_tab${tls_named%/*}$tls_tab$tls_named ;;
    apache2 | httpd) tls_named=apache$tls_tab${tls_prefix:-/}$tls_tab$tls_named ;;
    haproxy) tls_named=haproxy$tls_tab-$tls_tab$tls_named ;;
    *) tls_named=postfix$tls_tab$tls_named$tls_tab$tls_named/main.cf$tls_tab$tls_named/master.cf ;;
    esac
    tls_mains=$tls_mains$tls_named$nl
}

# Of a link that leads nowhere the gap is that of its end.
tls_gap_of() {
    gap_of "$1"
    if [ "$gap" = denied ] && [ -h "$1" ] && [ ! -e "$1" ]; then
        tls_end=$(readlink -f "$1" 2>/dev/null)
        [ -z "$tls_end" ] || gap_of "$tls_end"
    fi
}

# A file to follow, once; at most 400 per configuration.
tls_follow() {
    nameable "$1" || return 0
    case $tls_known in *"$nl$1$nl"*) return 0 ;; esac
    tls_known=$tls_known$1$nl tls_n=$((tls_n + 1))
    if [ "$tls_n" -gt 400 ]; then
        tls_capped=files
    elif [ ! -f "$1" ] || [ ! -r "$1" ]; then
        tls_gap_of "$1"
        none "file:$1" "$gap"
    elif [ "$tls_kind" = list ]; then
        tls_lists=$tls_lists$nl$1 tls_more=yes
    else
        tls_files=$tls_files$nl$1 tls_more=yes
    fi
}

# An include: a file, a pattern, or (Apache) a directory. Called with IFS=newline and set -f.
tls_include() {
    case $1 in
    *[*?[]*)
        tls_dir=${1%/*}
        case $tls_dir in
        *[*?[]*) ;;
        *)
            if [ ! -r "$tls_dir" ] || [ ! -x "$tls_dir" ]; then
                gap_of "$tls_dir"
                [ "$gap" = absent ] || none "dir:$tls_dir" "$gap"
            fi
            ;;
        esac
        set +f
        # shellcheck disable=SC2086 # a pattern, to be expanded
        set -- $1
        set -f
        case $1 in *[*?[]*) [ -e "$1" ] || return 0 ;; esac
        ;;
    esac
    for tls_f in "$@"; do
        if [ -d "$tls_f" ]; then
            set +f
            for tls_g in "$tls_f"/*; do [ ! -f "$tls_g" ] || tls_follow "$tls_g"; done
            set -f
        else
            tls_follow "$tls_f"
        fi
    done
}

# tls_tree DIALECT BASE MAIN MORE...: one server's configuration with all that it includes.
tls_tree() {
    [ -n "$3" ] || return 0
    case $tls_seen in *"$nl$3$nl"*) return 0 ;; esac
    tls_seen=$tls_seen$3$nl
    if [ ! -f "$3" ] || [ ! -r "$3" ]; then
        gap_of "$3"
        none "file:$3" "$gap"
        tls_row "$gap" "$1" "$3"
        return 0
    fi
    tls_row main "$@"
    tls_d=$1 tls_base=$2 tls_known=$nl tls_n=0 tls_files='' tls_lists='' tls_kind='' tls_level=0
    tls_capped=''
    shift 2
    for tls_f in "$@"; do tls_follow "$tls_f"; done
    tls_more=yes
    IFS=$nl
    set -f
    while [ -n "$tls_more" ]; do
        tls_more=''
        # shellcheck disable=SC2086 # one word a line
        tls_found=$(bounded 20 awk "$tls_scan" d="$tls_d" base="$tls_base" $tls_files \
            ${tls_lists:+d=crt-list} $tls_lists) || tls_capped='time'
        tls_level=$((tls_level + 1))
        for tls_line in $tls_found; do
            tls_kind=${tls_line%%"$tls_tab"*}
            case $tls_kind in include | list) tls_include "${tls_line##*"$tls_tab"}" ;; esac
        done
        if [ "$tls_level" -ge 10 ] && [ -n "$tls_more" ]; then
            tls_capped=includes tls_more=''
        fi
    done
    # shellcheck disable=SC2086
    bounded 20 awk -v n="$N" -v limit=262144 "$tls_send" $tls_files $tls_lists |
        tls_spare | redact | tls_redact
    set +f
    IFS=$tls_ifs
    [ -z "$tls_found" ] || tls_rows=$tls_rows$tls_found$nl
    [ -z "$tls_capped" ] || tls_row capped "$tls_capped" "$3"
}

# A certificate or key file that is named, once; at most 400 of each.
tls_want() { # certificate|key PATH
    nameable "$2" || return 0
    case $1 in
    key) case $tls_keys in *"$nl$2$nl"*) return 0 ;; esac ;;
    *) case $tls_certs in *"$nl$2$nl"*) return 0 ;; esac ;;
    esac
    tls_n=$((tls_n + 1))
    if [ "$tls_n" -gt 800 ]; then
        tls_capped=certificates
    elif [ "$1" = key ]; then
        tls_keys=$tls_keys$2$nl
    else
        tls_certs=$tls_certs$2$nl
    fi
}

# What a bundle may be for HAProxy: a file, a directory of them, or the beginning of several names;
# the key in it or beside it.
tls_bundle() {
    set -- "${1%/}"
    if [ -d "$1" ]; then
        set +f
        IFS=$tls_ifs
        directory "$1" :
        IFS=$nl
        for tls_f in "$1"/*; do
            [ -f "$tls_f" ] || continue
            case $tls_f in
            *.key) tls_want key "$tls_f" ;;
            *.issuer | *.ocsp | *.sctl) ;;
            *) tls_want certificate "$tls_f" ;;
            esac
        done
        set -f
        return 0
    fi
    if [ ! -e "$1" ]; then
        for tls_f in "$1.rsa" "$1.ecdsa" "$1.dsa"; do
            [ ! -f "$tls_f" ] || tls_want certificate "$tls_f"
        done
    fi
    tls_want certificate "$1"
    for tls_f in "$1.key" "${1%.*}.key"; do [ ! -f "$tls_f" ] || tls_want key "$tls_f"; done
}

# Reads what is named. Called with IFS=newline and set -f, so that a list is one word a line.
# shellcheck disable=SC2086
tls_read() {
    tls_small=''
    if [ -n "${tls_certs#"$nl"}" ]; then
        tls_small=$nl$(find -L $tls_certs -prune -type f -size -2049 -print 2>/dev/null)$nl
    fi
    set --
    for tls_f in $tls_certs; do
        case $tls_small in
        *"$nl$tls_f$nl"*) if [ -r "$tls_f" ]; then set -- "$@" "$tls_f" && continue; fi ;;
        *) if [ -f "$tls_f" ]; then none "certificates:$tls_f" truncated && continue; fi ;;
        esac
        tls_gap_of "$tls_f"
        none "certificates:$tls_f" "$gap"
    done
    tls_holders=''
    if [ $# -gt 0 ]; then
        bounded 20 awk -v n="$N" "$tls_certificates" "$@"
        tls_holders=$(bounded 20 grep -l -e '-----BEGIN .*PRIVATE KEY-----' "$@" 2>/dev/null)
    fi
    set --
    for tls_f in $tls_keys $tls_holders; do
        if [ -e "$tls_f" ]; then
            set -- "$@" "$tls_f"
        else
            tls_gap_of "$tls_f"
            none "mode:$tls_f" "$gap"
        fi
    done
    [ $# -gt 0 ] || return 0
    IFS=$tls_ifs # frames need it
    frame tls.modes 262144 'ls -ldnL (the files that hold a private key)' modes_of "$@"
    IFS=$nl
    # shellcheck disable=SC2046
    set -- $(find -L "$@" -prune -type f -perm -004 -print 2>/dev/null)
    IFS=$tls_ifs
    [ $# -eq 0 ] || frame tls.ways 262144 \
        'readlink -f, ls -ldn (the directories above keys that everybody may read)' tls_ways "$@"
}
tls_ways() {
    for tls_f in "$@"; do
        tls_end=$(readlink -f "$tls_f" 2>/dev/null)
        printf '%s\t%s\n' "$tls_f" "${tls_end:-?}"
        tls_dir=${tls_end:-/?}
        set --
        while tls_dir=${tls_dir%/*} && [ -n "$tls_dir" ]; do set -- "$tls_dir" "$@"; done
        [ $# -eq 0 ] || ls -ldn "$@"
    done
    true
}

# When the servers' processes began, in ticks since boot, and when the certificates were written.
tls_times() {
    stat -L -c '%Y %n' "$@" 2>/dev/null
    for tls_f in $tls_processes; do
        read -r tls_name <"$tls_f/comm" || continue
        case $tls_name in
        nginx | openresty | apache2 | httpd | haproxy) ;;
        *) continue ;;
        esac
        read -r tls_line <"$tls_f/stat" || continue
        # shellcheck disable=SC2086 # proc_pid_stat(5): the 22nd field, the 20th after the name
        set -- ${tls_line##*\) }
        echo "start $tls_name ${20}"
    done 2>/dev/null
    read -r tls_line _ </proc/uptime
    echo "uptime $tls_line"
    date +'now %s'
}
collect_tls() {
    tls_mains='' tls_rows='' tls_seen=$nl tls_certs=$nl tls_keys=$nl tls_capped='' tls_n=0
    if [ -r /proc/1/comm ]; then
        tls_seen_running=$(tls_observe | redact)
        frame tls.processes 65536 '/proc/PID/comm, cmdline, root' printf '%s' \
            "$tls_seen_running${tls_seen_running:+$nl}"
        IFS=$nl
        set -f
        for tls_line in $tls_seen_running; do
            case $tls_line in
            *"${tls_tab}other$tls_tab"*) continue ;;
            nginx"$tls_tab"* | openresty"$tls_tab"* | apache2"$tls_tab"* | httpd"$tls_tab"* | haproxy"$tls_tab"* | \
                master"$tls_tab"*) ;;
            *) continue ;;
            esac
            IFS=$tls_ifs
            # shellcheck disable=SC2086 # words are what is wanted
            tls_command_line "${tls_line%%"$tls_tab"*}" ${tls_line##*"$tls_tab"}
            IFS=$nl
        done
        for tls_line in $tls_mains; do
            IFS=$tls_tab
            set -f
            # shellcheck disable=SC2086
            set -- $tls_line
            set +f
            IFS=$tls_ifs
            tls_tree "$@"
        done
        set +f
        IFS=$tls_ifs
    else
        none tls.processes denied
    fi
    for tls_line in /etc/nginx /usr/local/nginx/conf /usr/local/openresty/nginx/conf \
        /www/server/nginx/conf /opt/nginx/conf; do
        tls_tree nginx "$tls_line" "$tls_line/nginx.conf"
    done
    tls_tree apache /etc/apache2 /etc/apache2/apache2.conf
    tls_tree apache /etc/apache2 /etc/apache2/httpd.conf
    for tls_line in /etc/httpd /usr/local/apache2 /www/server/apache; do
        tls_tree apache "$tls_line" "$tls_line/conf/httpd.conf"
    done
    set -- /etc/haproxy/conf.d/*.cfg
    [ -f "$1" ] || set --
    tls_tree haproxy - /etc/haproxy/haproxy.cfg "$@"
    tls_tree postfix /etc/postfix /etc/postfix/main.cf /etc/postfix/master.cf
    tls_n=0 tls_capped=''
    IFS=$nl
    set -f
    for tls_line in $tls_rows; do
        case $tls_line in
        certificate"$tls_tab"* | chain"$tls_tab"*) tls_want certificate "${tls_line##*"$tls_tab"}" ;;
        bundle"$tls_tab"*) tls_bundle "${tls_line##*"$tls_tab"}" ;;
        key"$tls_tab"*) tls_want key "${tls_line##*"$tls_tab"}" ;;
        esac
    done
    tls_read
    # shellcheck disable=SC2086 # one path a line
    set -- $tls_certs
    set +f
    IFS=$tls_ifs
    tls_processes=
    if [ $# -gt 0 ]; then
        tls_processes=$(echo /proc/[0-9]*)
        frame tls.times 262144 'stat of the certificate files; start of the processes' tls_times "$@"
    fi
    [ -z "$tls_capped" ] || tls_row capped "$tls_capped"
    frame tls.configuration 1048576 'the names in these configurations' echo "${tls_rows%"$nl"}"
}
