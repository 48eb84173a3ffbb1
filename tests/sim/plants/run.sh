#!/bin/sh
# Plants a bug of this folder into a scratch copy of the workspace, and expects the simulator to find it: the first seed that
# fails must fail with the invariant that the patch names. A patch that does not apply or does not compile is not found.
#
#   tests/sim/plants/run.sh          all
#   tests/sim/plants/run.sh 1 8 12   these
#
# SEEDS (20000), PROFILE (release; or dev) and PLANTS_DIR (target/plants; the copy and its build, kept between runs) can be set.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../../.." && pwd)
work=${PLANTS_DIR:-$root/target/plants}
seeds=${SEEDS:-20000}
profile=${PROFILE:-release}
case $profile in dev) built=debug ;; *) built=$profile ;; esac
copy=$work/copy

rm -rf "$copy" && mkdir -p "$copy" || exit 2
(cd "$root" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -p --parents -t "$copy") || exit 2

if [ $# -eq 0 ]; then
    set -- $(cd "$here" && ls -- *.patch | sed 's/-.*//')
fi
missed=0
for number in "$@"; do
    patch_file=$(ls "$here/$(printf %02d "${number#0}")"-*.patch) || { missed=$((missed + 1)); continue; }
    name=$(basename "$patch_file" .patch)
    wanted=$(sed -n 's/^Breaks: //p' "$patch_file")
    if ! patch -s -p1 -d "$copy" < "$patch_file"; then
        echo "$name: does not apply"
        missed=$((missed + 1))
        # A patch that fails half-way leaves the rest behind.
        (cd "$root" && git ls-files -z core | xargs -0 cp -p --parents -t "$copy")
        continue
    fi
    if (cd "$copy" && CARGO_INCREMENTAL=1 cargo build -q --profile "$profile" -p tikv-sim --target-dir "$work/target" 2> "$work/$name.log"); then
        "$work/target/$built/tikv-sim" run --seeds "1..$seeds" --no-shrink > "$work/$name.out" 2>&1
        found=$(sed -n 's/^seed \([0-9]*\) violates \([A-Za-z]*\):.*/\1 \2/p' "$work/$name.out" | head -n 1)
        found=${found:-"- none"}
        if [ "${found#* }" = "$wanted" ]; then
            echo "$name: $wanted at seed ${found% *}"
        else
            echo "$name: NOT FOUND, wanted $wanted, first failure in $seeds seeds: $found"
            missed=$((missed + 1))
        fi
    else
        echo "$name: does not compile, see $work/$name.log"
        missed=$((missed + 1))
    fi
    patch -s -R -p1 -d "$copy" < "$patch_file"
done
echo "$missed not found"
[ "$missed" -eq 0 ]
