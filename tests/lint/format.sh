#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Is every source as .clang-format would write it? `./run lint --fix` writes it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mapfile -t sources < <(find include tests examples benchmarks -name '*.hpp' -o -name '*.cpp' | sort)
misformatted=0
for source in "${sources[@]}"; do
    clang-format-19 --dry-run --Werror "$source" >/dev/null 2>&1 && continue
    echo "format: $source: not as clang-format writes it"
    misformatted=$((misformatted + 1))
done
echo "format: ${#sources[@]} files, $misformatted to be formatted"
((misformatted == 0))
