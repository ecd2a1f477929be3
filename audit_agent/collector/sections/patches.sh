# Packages, pending security updates, the record of upgrades, kernels. Package managers are asked
# only for what is installed; what is on offer is read from the lists they left on the disk, because
# apt-get and dnf write caches, logs and locks even when they only simulate.
patches_unpack() { # FILE on standard output, whatever it was packed with
    case $1 in
    *.gz) gzip -dc <"$1" ;;
    *.xz | *.lzma) xz -dc <"$1" ;;
    *.zst) zstd -dcq <"$1" ;;
    *.bz2) bzip2 -dc <"$1" ;;
    *.lz4) lz4 -dc <"$1" ;;
    *) cat "$1" ;;
    esac 2>/dev/null
}
patches_newest_first() { # existing files of these names, one a line
    # shellcheck disable=SC2012 # these directories hold plain names
    ls -1td "$@" 2>/dev/null
}

# --- dpkg and apt ---
patches_list() { # an apt list, uncompressed
    case $1 in
    *.gz | *.xz | *.lzma | *.zst | *.bz2 | *.lz4)
        if [ -x /usr/lib/apt/apt-helper ]; then
            bounded 20 /usr/lib/apt/apt-helper cat-file "$1" 2>/dev/null
        else
            patches_unpack "$1"
        fi
        ;;
    *) cat "$1" ;;
    esac
}
patches_suites() { # with /dev/null grep prints the file's name even where there is only one
    grep -E '^(Origin|Label|Suite|Codename|Date|Valid-Until):' /dev/null \
        /var/lib/apt/lists/*Release 2>/dev/null
    true
}
patches_security_releases() { # the Release files that call themselves security
    grep -liE '^(Label|Suite|Codename|Origin):.*security' /dev/null \
        /var/lib/apt/lists/*Release 2>/dev/null
}
patches_offers() { # what apt_security reads: the installed packages, then each security list
    echo "$patches_installed"
    patches_security_releases | while read -r patches_release; do
        for patches_f in "${patches_release%InRelease}"*_Packages* \
            "${patches_release%Release}"*_Packages*; do
            case $patches_f in *InRelease* | *'*'* | *.diff*) continue ;; esac
            [ -f "$patches_f" ] || continue
            echo "@list $patches_release $patches_f"
            patches_list "$patches_f" || echo "@failed $patches_release $patches_f"
        done
    done
    true # ksh93 would hand on that there was no list
}
patches_apt_security() {
    patches_offers | awk '
        function offer(  n, i, arches, a) {
            if (name != "" && (name in arch_of)) {
                n = split(arch_of[name], arches, " ")
                for (i = 1; i <= n; i++) {
                    a = arches[i]
                    if (a != arch && a != "all" && arch != "all") continue
                    if (installed[name, a] == version) continue
                    print "offer\t" name "\t" a "\t" installed[name, a] "\t" version "\t" release
                }
            }
            if (name != "") count++
            name = arch = version = ""
        }
        function close_list() {
            offer()
            if (list != "") print "list\t" release "\t" list "\t" count
            list = ""
            count = 0
        }
        $1 == "@list" { close_list(); release = $2; list = $3; next }
        $1 == "@failed" { offer(); print "failed\t" $2 "\t" $3; list = ""; next }
        list == "" {
            n = split($0, field, "\t")
            if (n < 4 || substr(field[1], 2, 1) ~ /[nc]/) next
            installed[field[2], field[3]] = field[4]
            arch_of[field[2]] = arch_of[field[2]] " " field[3]
            next
        }
        $1 == "Package:" { name = $2 }
        $1 == "Architecture:" { arch = $2 }
        $1 == "Version:" { version = $2 }
        NF == 0 { offer() }
        END { close_list() }'
}
# The newest upgrades in dpkg's log, and the log's first line; going back until a file has any.
# A reinstallation is none. "install base-files" shows that the log reaches back to the beginning.
patches_dpkg_log() {
    patches_newest_first /var/log/dpkg.log* | while read -r patches_f; do
        if [ ! -r "$patches_f" ]; then
            printf 'denied\t%s\n' "$patches_f"
            continue
        fi
        patches_found=$(patches_unpack "$patches_f" | awk -v file="$patches_f" '
            NR == 1 { print "file\t" file; print "first\t" $1 " " $2 }
            $3 == "install" && $5 == "<none>" && $4 ~ /^(base-files|dpkg)(:|$)/ { print }
            $3 == "upgrade" && $5 != $6 { kept[n++ % 300] = $0 }
            END { for (i = (n > 300 ? n - 300 : 0); i < n; i++) print kept[i % 300] }')
        echo "$patches_found"
        case $patches_found in *" upgrade "*) break ;; esac
    done
}
patches_dpkg() {
    # shellcheck disable=SC2016 # dpkg-query's own placeholders
    patches_installed=$(bounded 20 dpkg-query -W \
        -f='${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n' 2>/dev/null)
    frame packages.dpkg 2097152 \
        "dpkg-query -W -f='\${db:Status-Abbrev} \${Package} \${Architecture} \${Version}'" \
        patches_given "$patches_installed" $?
    if [ -d /var/lib/apt/lists ]; then
        frame patches.apt-suites 262144 \
            "grep -E '^(Origin|Label|Suite|Codename|Date|Valid-Until):' /var/lib/apt/lists/*Release" \
            patches_suites
        frame patches.apt-security 1048576 \
            'installed packages that the security lists in /var/lib/apt/lists have otherwise' \
            patches_apt_security
    else
        none patches.apt-suites absent
        none patches.apt-security absent
    fi
    patches_log=$(patches_dpkg_log)
    frame patches.dpkg-log 131072 'upgrades in /var/log/dpkg.log* (back to a file with any)' \
        patches_given "$patches_log" 0
    case $patches_log in
    *" upgrade "*) ;;
    *)
        frame patches.dpkg-times 524288 "stat -c '%Y %n' /var/lib/dpkg/info/*.list" \
            stat -c '%Y %n' /var/lib/dpkg/info/*.list
        ;;
    esac
}
patches_given() { # TEXT STATUS: output that was kept in a variable
    echo "$1"
    return "$2"
}

# --- rpm, with dnf, yum or zypper ---
# As root rpm opens its database for writing; as nobody it cannot.
patches_rpm_query() {
    set -- rpm -qa --qf \
        '%{NAME}\t%{EPOCH}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{INSTALLTIME}\t%{BUILDTIME}\n'
    if [ -w / ] && have setpriv; then
        bounded 30 setpriv --reuid=65534 --regid=65534 --clear-groups "$@" 2>/dev/null && return
    fi
    bounded 30 "$@"
}
# shellcheck disable=SC2016 # awk's own fields
patches_attribute='function attribute(key,  at, rest) {
        at = index($0, " " key "=\"")
        if (!at) return ""
        rest = substr($0, at + length(key) + 3)
        return substr(rest, 1, index(rest, "\"") - 1)
    }'
patches_repositories() { # the metadata that dnf 4, dnf 5, yum and zypper keep, one folder a line
    for patches_f in /var/cache/dnf/*/repodata/repomd.xml \
        /var/cache/libdnf5/*/repodata/repomd.xml /var/cache/yum/*/*/*/repomd.xml \
        /var/cache/zypp/raw/*/repodata/repomd.xml; do
        [ -r "$patches_f" ] && echo "${patches_f%/*}"
    done
}
patches_rpm_repos() { # folder, newest mtime (last checked), revision, newest timestamp, updateinfo
    patches_repositories | while read -r patches_dir; do
        patches_checked=0
        for patches_t in $(stat -c %Y "$patches_dir" "$patches_dir/repomd.xml" \
            "$patches_dir"/*primary.xml* 2>/dev/null); do
            [ "$patches_t" -gt "$patches_checked" ] && patches_checked=$patches_t
        done
        awk -v dir="$patches_dir" -v checked="$patches_checked" -v OFS='\t' '
            BEGIN { RS = "<"; FS = ">" }
            $1 == "revision" { revision = $2 }
            $1 == "timestamp" && $2 + 0 > newest { newest = int($2) }
            $1 ~ /^data type="updateinfo"/ { updateinfo = "updateinfo" }
            END { print dir, checked, revision, newest + 0, updateinfo }
        ' "$patches_dir/repomd.xml"
    done
}
patches_advisories() { # what rpm_security reads: the installed packages, then each updateinfo
    echo "$patches_installed"
    patches_repositories | while read -r patches_dir; do
        for patches_f in "$patches_dir"/*updateinfo.xml*; do
            [ -f "$patches_f" ] || continue
            echo "<@list $patches_dir $patches_f>"
            patches_unpack "$patches_f" |
                grep -E '<(update|id|severity|issued|module|package|/?collection)[ />]' ||
                echo "<@failed $patches_dir $patches_f>"
        done
    done
}
patches_rpm_security() { # security advisories that name an installed package in another version
    patches_advisories | awk -v OFS='\t' "$patches_attribute"'
        BEGIN { RS = "<"; FS = ">" }
        NR == 1 {
            n = split($0, line, "\n")
            for (i = 1; i <= n; i++) {
                split(line[i], f, "\t")
                installed[f[1]] = 1
                exact[f[1], f[3], f[4]] = 1
            }
            next
        }
        $1 ~ /^@list / { split($1, f, " "); dir = f[2]; print "list", dir, f[3]; next }
        $1 ~ /^@failed / { split($1, f, " "); print "failed", f[2], f[3]; next }
        $1 ~ /^update / {
            security = attribute("type") == "security"
            id = severity = issued = module = ""
            next
        }
        $1 == "id" && id == "" {
            id = $2
            if (security) { seen[dir]++; last[dir] = id }
            next
        }
        $1 == "severity" { severity = $2; next }
        $1 ~ /^issued / { issued = attribute("date"); next }
        $1 ~ /^collection/ { module = ""; next }
        $1 ~ /^module / { module = attribute("name") ":" attribute("stream"); next }
        $1 ~ /^package / && security {
            name = attribute("name")
            if (!(name in installed)) next
            version = attribute("version")
            release = attribute("release")
            if ((name, version, release) in exact) next
            print "offer", dir, id, severity, issued, name, attribute("epoch"), version, release,
                attribute("arch"), module
        }
        END { for (dir in seen) print "count", dir, seen[dir], last[dir] }'
}
# Upgrades in the logs of dnf 4 (dated) and yum 3 (which leaves out the year).
patches_rpm_log() {
    patches_newest_first /var/log/dnf.rpm.log* | while read -r patches_f; do
        if [ ! -r "$patches_f" ]; then
            printf 'denied\t%s\n' "$patches_f"
            continue
        fi
        patches_found=$(patches_unpack "$patches_f" | awk -v file="$patches_f" '
            NR == 1 { print "file\t" file; print "first\t" $1 }
            $3 == "Upgrade:" { kept[n++ % 300] = $0 }
            END { for (i = (n > 300 ? n - 300 : 0); i < n; i++) print kept[i % 300] }')
        echo "$patches_found"
        case $patches_found in *" Upgrade: "*) break ;; esac
    done
    for patches_f in /var/log/yum.log /var/log/yum.log-*; do
        [ -r "$patches_f" ] || continue
        patches_unpack "$patches_f" | grep ' Updated: ' | tail -n 300
    done
    # zypp writes "install" for an upgrade too: it is one where the name was there before.
    if [ -r /var/log/zypp/history ]; then
        awk -F'|' '$2 == "install" {
            if (($3 in last) && last[$3] != $4) print $1 " zypp " $3 " " last[$3] " " $4
            last[$3] = $4
        }' /var/log/zypp/history | tail -n 300
    fi
}
patches_rpm() {
    patches_installed=$(patches_rpm_query)
    frame packages.rpm 4194304 "rpm -qa --qf '%{NAME} %{EPOCH} %{VERSION} %{RELEASE} %{ARCH}\
 %{INSTALLTIME} %{BUILDTIME}'" patches_given "$patches_installed" $?
    frame patches.rpm-repos 65536 \
        'repomd.xml of dnf, yum and zypper: folder, checked, revision, newest, updateinfo' \
        patches_rpm_repos
    frame patches.rpm-security 4194304 \
        'security advisories in updateinfo.xml that name installed packages' patches_rpm_security
    frame patches.rpm-log 131072 'upgrades in dnf.rpm.log*, yum.log*, zypp/history' \
        patches_rpm_log
    directory /etc/yum.repos.d redacted
    directory /etc/dnf/modules.d
    [ -d /etc/zypp/repos.d ] && directory /etc/zypp/repos.d redacted
}

# --- apk ---
patches_apk_installed() {
    awk -v OFS='\t' '/^P:/ { name = substr($0, 3) } /^V:/ { version = substr($0, 3) }
        /^A:/ { arch = substr($0, 3) } NF == 0 { print name, arch, version }' /lib/apk/db/installed
}
patches_apk() {
    frame packages.apk 1048576 '/lib/apk/db/installed (P:, A:, V:)' patches_apk_installed
    frame patches.apk-times 256 "stat -c '%Y %n' /lib/apk/db/installed" \
        stat -c '%Y %n' /lib/apk/db/installed
}

# --- kernels ---
patches_kernel_files() {
    have stat || return 127
    stat -c '%Y %n' /boot/vmlinu[xz]* /boot/kernel* /lib/modules/* \
        /var/lib/dpkg/info/linux-image-*.list /run/reboot-required /run/reboot-required.pkgs \
        2>/dev/null
    true
}
patches_livepatch() {
    for patches_f in /sys/kernel/livepatch/*/enabled; do
        [ -r "$patches_f" ] && echo "${patches_f%/enabled} $(cat "$patches_f")"
    done
    true
}
collect_patches() {
    if [ -r /var/lib/dpkg/status ] && have dpkg-query; then
        patches_dpkg
    else
        none packages.dpkg no-tool
    fi
    patches_db=
    for patches_f in /var/lib/rpm/Packages* /var/lib/rpm/rpmdb.sqlite /usr/lib/sysimage/rpm/*; do
        [ -e "$patches_f" ] && patches_db=$patches_f
    done
    if [ -n "$patches_db" ] && have rpm; then patches_rpm; else none packages.rpm no-tool; fi
    if [ -r /lib/apk/db/installed ]; then patches_apk; fi
    frame patches.kernel-files 65536 \
        "stat -c '%Y %n' /boot/vmlinu* /lib/modules/* /run/reboot-required (and when installed)" \
        patches_kernel_files
    file /run/reboot-required.pkgs 65536
    file /proc/version_signature 256
    frame patches.livepatch 4096 '/sys/kernel/livepatch/*/enabled' patches_livepatch
}
