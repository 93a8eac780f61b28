// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// What built-in images have besides Debian's busybox, or instead of a part of it.
enum BuiltinTools {
    /// A wget that keeps time. The one of Debian's busybox 1.35 was built without limits of time: it does not know
    /// `--timeout`, and `-T` ends it with SIGSEGV.
    ///
    /// The limit is busybox' own, one of silence: the program is ended when it neither sent nor wrote anything between
    /// two looks.
    static let wget = #"""
        #!/bin/sh
        limit=
        count=$#
        while [ "$count" -gt 0 ]; do
            word=$1
            shift
            count=$((count - 1))
            case $word in
            --) # the rest as it is
                set -- "$@" --
                while [ "$count" -gt 0 ]; do
                    word=$1
                    shift
                    count=$((count - 1))
                    set -- "$@" "$word"
                done
                ;;
            --timeout=* | --read-timeout=* | --connect-timeout=* | --dns-timeout=*) limit=${word#*=} ;;
            --timeout | --read-timeout | --connect-timeout | --dns-timeout)
                limit=$1
                shift
                count=$((count - 1))
                ;;
            --tries=*) ;; # there is one
            --tries)
                shift
                count=$((count - 1))
                ;;
            -[!-]*)
                rest=${word#-}
                flags=-
                while [ -n "$rest" ]; do
                    flag=${rest%"${rest#?}"}
                    rest=${rest#?}
                    case $flag in
                    [TtOoPUY])
                        value=$rest
                        rest=
                        if [ -z "$value" ] && [ "$count" -gt 0 ]; then
                            value=$1
                            shift
                            count=$((count - 1))
                        fi
                        case $flag in
                        T) limit=$value ;;
                        t) ;;
                        *)
                            [ "$flags" = - ] || set -- "$@" "$flags"
                            flags=-
                            set -- "$@" "-$flag" "$value"
                            ;;
                        esac
                        ;;
                    *) flags=$flags$flag ;;
                    esac
                done
                [ "$flags" = - ] || set -- "$@" "$flags"
                ;;
            *) set -- "$@" "$word" ;;
            esac
        done
        case ${limit:-0} in
        0) exec /bin/busybox wget "$@" ;;
        *[!0-9]*)
            echo "wget: invalid number '$limit'" >&2
            exit 1
            ;;
        esac
        /bin/busybox wget "$@" <&0 &
        download=$!
        (
            trap 'kill "$pause" 2>/dev/null; exit' TERM
            before=0
            while :; do
                sleep "$limit" &
                pause=$!
                wait "$pause"
                now=$(sed -n 's/^wchar: //p' "/proc/$download/io") || exit
                if [ "$now" = "$before" ]; then
                    kill -USR1 $$
                    exit
                fi
                before=$now
            done
        ) </dev/null >/dev/null 2>&1 &
        watch=$!
        late=
        trap 'late=1; kill "$download"' USR1
        trap 'kill "$download"; kill "$watch"; exit 143' TERM INT HUP
        wait "$download"
        code=$?
        if [ -n "$late" ]; then
            wait "$download" 2>/dev/null
            echo "wget: download timed out" >&2
            exit 1
        fi
        kill "$watch" 2>/dev/null
        wait "$watch" 2>/dev/null
        exit "$code"

        """#

    /// Debian's busybox has none.
    static let printenv = #"""
        #!/bin/sh
        [ $# -gt 0 ] || exec env
        exec awk 'BEGIN {
            for (i = 1; i < ARGC; i++) if (ARGV[i] in ENVIRON) print ENVIRON[ARGV[i]]; else missing = 1
            exit missing
        }' "$@"

        """#

    /// A copy of busybox that does not know one of its programs: its shell, `timeout`, `xargs` and the like run what
    /// they know themselves without looking into PATH, where a better one would lie. Nil when the name is not found
    /// where it belongs: between its neighbours in the sorted table of names.
    static func busybox(_ bytes: [UInt8], without name: String, names: [String]) -> [UInt8]? {
        let sorted = names.sorted()
        guard let last = name.utf8.last, let index = sorted.firstIndex(of: name), index > 0,
            index + 1 < sorted.count
        else { return nil }
        let pattern = Array("\0\(sorted[index - 1])\0\(name)\0\(sorted[index + 1])\0".utf8)
        let ranges = bytes.ranges(of: pattern)
        guard ranges.count == 1, let range = ranges.first else { return nil }
        // The next letter for the last one: the table stays sorted.
        let hidden = Array(name.utf8.dropLast()) + [last + 1]
        guard String(decoding: hidden, as: UTF8.self) < sorted[index + 1] else { return nil }
        var result = bytes
        let start = range.lowerBound + sorted[index - 1].utf8.count + 2
        result.replaceSubrange(start..<start + hidden.count, with: hidden)
        return result
    }
}
