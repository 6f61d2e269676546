#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of what `./run weight` computes; nothing is compiled."""
import contextlib
import io
import re
import unittest
import unittest.mock

import measure
import sources
import weight


class Slopes(unittest.TestCase):
    def test_a_slope_is_what_one_more_lambda_adds_from_ten_to_the_most(self):
        self.assertAlmostEqual(measure.slope({10: 3.0, 200: 22.0}), 0.1)
        self.assertAlmostEqual(measure.slope({1: 99.0, 10: 3.0, 50: 99.0, 200: 22.0}), 0.1)

    def test_a_slope_needs_two_counts_of_ten_or_more(self):
        with self.assertRaises(ValueError):
            measure.slope({1: 1.0, 9: 2.0, 10: 3.0})


class Scales(unittest.TestCase):
    def test_the_scale_is_the_median_reference_over_that_of_the_bounds(self):
        self.assertAlmostEqual(measure.scale([0.8]), 1.0)
        self.assertAlmostEqual(measure.scale([1.6, 0.1, 9.0]), 2.0)

    def test_of_the_heavy_reference_the_least_counts(self):
        self.assertAlmostEqual(measure.heavy_scale([11.0, 10.0, 12.0]), 2.0)


class Rounds(unittest.TestCase):
    def row(self, seconds):
        """A row of one call whose rounds take so many seconds; its gate is 4.8 times 2 seconds."""
        rounds = iter(seconds)
        self.measured = 0

        def measure(_counts):
            self.measured += 1
            return {weight.ADDED: (next(rounds), ""), weight.ADDED_CODE: (80_000, "")}

        return weight.Row("one", "", "true", measure)

    def weigh(self, seconds):
        with unittest.mock.patch("weight.reference_seconds", return_value=0.8), contextlib.redirect_stdout(io.StringIO()):
            return weight.weigh(self.row(seconds), [10, 60], 3, 0)

    def test_a_row_that_passes_is_measured_once_if_there_is_no_time_for_more(self):
        self.assertEqual((self.weigh([9.6]), self.measured), (0, 1))

    def test_a_time_beyond_its_gate_is_measured_again_and_the_least_counts(self):
        self.assertEqual((self.weigh([20, 9, 20]), self.measured), (0, 2))
        self.assertEqual((self.weigh([20, 19, 18, 17, 16, 15]), self.measured), (1, 6))

    def test_of_slopes_and_bytes_the_median_counts(self):
        rounds = [{weight.MS: (value, ""), weight.CODE: (value, "")} for value in (1, 2, 9)]
        self.assertEqual([weight.figure_of(figure, rounds) for figure in rounds[0]], [2, 2])


class Verdicts(unittest.TestCase):
    def test_a_bound_is_met_at_it_and_missed_one_above(self):
        self.assertEqual(weight.verdict_of(700, 700, 18), ("met", True))
        self.assertEqual(weight.verdict_of(1400, 700, 18), ("missed, 2.0 x", True))

    def test_a_gate_passes_at_it_and_not_above(self):
        self.assertTrue(weight.verdict_of(200, 100, 2)[1])
        self.assertEqual(weight.verdict_of(201, 100, 2), ("missed, 2.0 x, and the gate is 2 x", False))

    def test_only_times_grow_with_a_slower_machine(self):
        times = [figure for figure in (weight.MS, weight.ADDED, weight.FRONT_END, weight.WHOLE) if weight.is_time(figure)]
        self.assertEqual(len(times), 4)
        self.assertFalse(any(weight.is_time(figure) for figure in (weight.CODE, weight.ADDED_CODE, weight.OBJECT)))

    def test_every_limit_is_of_a_row_and_its_gate_is_no_stricter_than_its_bound(self):
        names = {row.name for row in weight.all_rows()}
        for name, limits in weight.LIMITS.items():
            self.assertIn(name, names)
            for figure, (bound, gate) in limits.items():
                self.assertGreater(bound, 0, f"{name}: {figure}")
                self.assertGreaterEqual(gate, 1, f"{name}: {figure}")


class Parsing(unittest.TestCase):
    def test_the_code_of_an_object_is_the_column_text_of_size(self):
        sizes = "   text\t   data\t    bss\t    dec\t    hex\tfilename\n 112754\t   2916\t    449\t 116119\t  1c597\tx.o\n"
        self.assertEqual(measure.code_of(sizes), 112754)

    def test_outside_headers_are_those_that_a_header_reaches_by_ours(self):
        files = {
            "resilience/a.hpp": "#pragma once\n#include <resilience/b.hpp>\n\n#include <vector>\n#  include <chrono>\n",
            "resilience/b.hpp": "#include <resilience/a.hpp>\n#include <string> // for names\n// #include <regex>\n",
        }
        self.assertEqual(sources.outside_headers("resilience/a.hpp", files.__getitem__), ["chrono", "string", "vector"])

    def test_headers_that_bodies_need_are_none_of_a_file_that_sees_no_bodies(self):
        files = {"resilience/a.hpp": "#include <vector>\n#if RESILIENCE_BODIES\n#include <map>\n#endif\n#include <string>\n"}
        headers = [sources.outside_headers("resilience/a.hpp", files.__getitem__, is_compiled) for is_compiled in (False, True)]
        self.assertEqual(headers, [["map", "string", "vector"], ["string", "vector"]])


class Files(unittest.TestCase):
    def test_every_form_has_the_same_lambdas_as_its_bare_one(self):
        for form in sources.FORMS:
            own, bare = (re.findall(r"const auto f = .*?\n    };", sources.lambdas(kind, 12), re.S) for kind in (form, sources.bare_of(form)))
            self.assertEqual(own, bare, form)
            self.assertEqual(len(set(own)), 12, form)


if __name__ == "__main__":
    unittest.main()
