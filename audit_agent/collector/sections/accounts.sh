# Accounts. Of /etc/shadow only the state of each password leaves the host, never a hash:
# name:state:lastchange:min:max:warn:inactive:expire, state being empty, locked, or the algorithm.
shadow_states() {
    awk -F: '{
        p = $2
        if (p == "") s = "empty"
        else if (p ~ /^[!*]+$/) s = "none"
        else {
            s = ""
            if (p ~ /^!/) { s = "locked+"; sub(/^!+/, "", p) }
            if (p ~ /^\$/) { split(p, part, "$"); s = s "$" part[2] }
            else if (p ~ /^[*x]+$/ || p == "") s = s "none"
            else s = s "des"
        }
        print $1 ":" s ":" $3 ":" $4 ":" $5 ":" $6 ":" $7 ":" $8
    }' /etc/shadow
}
passwd_lines() { # a password hash that stands in /etc/passwd itself is cut
    awk -F: -v OFS=: '{ if ($2 != "" && $2 != "x" && $2 !~ /^[!*]+$/) $2 = "[redacted]"; print }' \
        /etc/passwd
}
collect_accounts() {
    frame file:/etc/passwd 1048576 '/etc/passwd (hashes in the second field redacted)' passwd_lines
    file /etc/group 1048576
    if [ -r /etc/shadow ]; then
        frame accounts.shadow 1048576 '/etc/shadow (password fields reduced to their state)' \
            shadow_states
    else
        gap_of /etc/shadow
        none accounts.shadow "$gap"
    fi
}
