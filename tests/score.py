#!/usr/bin/env python3
"""Scores the rules on recordings with labelled faults: what was found, what was false, how late.

    python3 tests/score.py --faultgate target/release/faultgate --data DIR --rules rules

The recordings are turned into JSON Lines in a temporary folder and replayed by `faultgate backtest`; every ticket it
opens counts, whichever rule opened it. Nothing but the standard library is used, and the random heads come from a
fixed seed, so that two runs print the same.

Exit codes: 0 fine or skipped, 1 a mark that `--require` asks for was missed, 2 could not run.
"""
import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone

# Pump bench: the onset is near 600 s in every file, so a clock would score without these two.
HEAD_SECONDS_MAX = 300
HISTORY_SECONDS_MIN = 150
HIT_SECONDS_MAX = 120
CLOCK_MINUTE = 12
# A ticket of a device that reports every minute and opens later than this after its last message came from silence.
SILENCE_SECONDS_MAX = 120
BACKTEST_SECONDS_MAX = 600
F1_REQUIRED = 0.85

LABELLED = [("furnace", "nab", "machine-temp-1"), ("room", "nab", "office-temp-1")]
AIR_HANDLERS = ["szcav", "szvav"]


class CannotRun(Exception):
    """The recordings could not be read or the program could not be run."""


def seconds(text):
    """Seconds since 1970 of an RFC 3339 time; without an offset it is UTC. Digits past microseconds are cut."""
    text = re.sub(r"(\.\d{6})\d+", r"\1", text.strip()).replace("Z", "+00:00")
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def rfc3339(at):
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_device(path):
    """[(seconds, {metric: number, or the text of a bad cell})], by time."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [(seconds(row.pop("ts")), {name: cell(text) for name, text in row.items()})
                for row in csv.DictReader(file)]
    return sorted(rows, key=lambda row: row[0])


def cell(text):
    try:
        return float(text)
    except ValueError:
        return text


def read_labels(path):
    """{device: [{start, end, point}]}; a point is the known moment, where there is one."""
    labels = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            window = {"start": seconds(row["start"]), "end": seconds(row["end"])}
            window["point"] = seconds(row["point"]) if row.get("point") else window["start"]
            labels.setdefault(row["device"], []).append(window)
    return labels


def write_recording(path, class_name, devices):
    """One JSON Lines recording of all devices, in the order of time."""
    messages = sorted((at, device, values) for device, rows in devices.items() for at, values in
                      ((at, json.dumps(values)) for at, values in rows))
    with open(path, "w", encoding="utf-8") as file:
        for at, device, values in messages:
            payload = json.dumps({"ts": rfc3339(at), **json.loads(values)})
            topic = f"plant/bench/{class_name}/{device}/telemetry"
            file.write(json.dumps({"ts": rfc3339(at), "topic": topic, "payload": payload,
                                   "retain": False, "qos": 1}) + "\n")


def backtest(options, folder, name, class_name, devices):
    """{device: [seconds at which a ticket opened]} and the whole report, from the program itself."""
    recording = os.path.join(folder, f"{name}.jsonl")
    write_recording(recording, class_name, devices)
    command = [options.faultgate, "backtest", "--input", recording, "--rules", options.rules, "--format", "json"]
    # The folder has no faultgate.toml, so the built-in defaults hold and a site's own settings do not colour the score.
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BACKTEST_SECONDS_MAX)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise CannotRun(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()}")
    try:
        report = json.loads(done.stdout)
        opened = {device: [] for device in devices}
        for ticket in report["tickets"]:
            opened.setdefault(ticket["device"], []).append(seconds(ticket["opened_at"]))
        if report["input"]["undecodable"]:
            raise CannotRun(f"{name}: {report['input']['undecodable']} messages could not be decoded")
    except (ValueError, KeyError, TypeError) as error:
        raise CannotRun(f"{name}: the report of `faultgate backtest` is not as documented: {error!r}") from error
    return {device: sorted(times) for device, times in opened.items()}, report


class Tally:
    """Found, false and missed faults, and the delays of those found."""

    def __init__(self):
        self.found, self.false, self.missed, self.delays = 0, 0, 0, []

    def count(self, tickets, windows):
        """A window is found by the first ticket inside it; every further ticket, and any outside, is false."""
        hits = 0
        for first, last, known in windows:
            inside = [at for at in tickets if first <= at <= last]
            if inside:
                hits += 1
                self.delays.append(inside[0] - known)
            else:
                self.missed += 1
        self.found += hits
        self.false += len(tickets) - hits

    def figures(self):
        delays = sorted(self.delays)
        return {"found": self.found, "false": self.false, "missed": self.missed, "f1": round(self.f1(), 3),
                "delay_median_s": rank(delays, 0.5), "delay_p90_s": rank(delays, 0.9)}

    def f1(self):
        wanted = 2 * self.found + self.false + self.missed
        return 2 * self.found / wanted if wanted else 0.0


def rank(ordered, share):
    """Nearest rank; None without values."""
    if not ordered:
        return None
    return round(ordered[max(0, -int(-share * len(ordered) // 1) - 1)])


def half_of(device):
    """The half on which the parameters were chosen has the even numbers."""
    digits = re.findall(r"\d+", device)
    return "chosen" if digits and int(digits[-1]) % 2 == 0 else "counted"


def trimmed(devices, labels, draw_random):
    """Each recording without a random head, so that the time since its start tells nothing about the onset."""
    kept = {}
    for device in sorted(devices):
        rows = devices[device]
        onset = labels[device][0]["start"] - rows[0][0]
        head = draw_random.uniform(0, max(0, min(HEAD_SECONDS_MAX, onset - HISTORY_SECONDS_MIN)))
        kept[device] = [row for row in rows if row[0] >= rows[0][0] + head]
    return kept


def hit_windows(windows):
    return [(w["start"], min(w["end"], w["start"] + HIT_SECONDS_MAX), w["start"]) for w in windows]


def clock_tally(draws, labels, after, half=None):
    """The null: one ticket so many seconds after the recording begins, whatever the machine does."""
    tally = Tally()
    for devices in draws:
        for device, rows in devices.items():
            if half in (None, half_of(device)):
                tally.count([rows[0][0] + after], hit_windows(labels[device]))
    return tally


def score_pump(options, folder):
    base = os.path.join(options.data, "skab")
    labels = read_labels(os.path.join(base, "labels.csv"))
    devices = {device: read_device(os.path.join(base, "devices", f"{device}.csv")) for device in labels}
    draw_random = random.Random(options.seed)
    draws = [trimmed(devices, labels, draw_random) for _ in range(options.draws)]
    tallies = {"chosen": Tally(), "counted": Tally()}
    for number, kept in enumerate(draws):
        opened, _ = backtest(options, folder, f"pump-bench-{number + 1}", "pump-bench", kept)
        for device, tickets in opened.items():
            tallies[half_of(device)].count(tickets, hit_windows(labels[device]))
    # The best clock is allowed to see the half on which it is counted: no clock does better.
    best = max(range(0, 1200, 10), key=lambda after: clock_tally(draws, labels, after, "counted").f1())
    rows = [("pump-bench, even (chosen)", tallies["chosen"], True), ("pump-bench, odd (counted)", tallies["counted"], True),
            (f"  null: clock, minute {CLOCK_MINUTE}", clock_tally(draws, labels, CLOCK_MINUTE * 60, "counted"), False),
            (f"  null: best clock, {best} s", clock_tally(draws, labels, best, "counted"), False)]
    missing = [f"{name}: F1 {tally.f1():.3f} is below {F1_REQUIRED}" for name, tally, required in rows
               if required and tally.f1() < F1_REQUIRED]
    return [{"recording": name, **tally.figures()} for name, tally, _ in rows], missing


def score_labelled(options, folder, class_name, base, device):
    labels = read_labels(os.path.join(options.data, base, "labels.csv"))[device]
    rows = read_device(os.path.join(options.data, base, "devices", f"{device}.csv"))
    opened, _ = backtest(options, folder, class_name, class_name, {device: rows})
    windows = [(w["start"], w["end"], w["point"]) for w in labels]
    tally, null = Tally(), Tally()
    tally.count(opened[device], windows)
    # As many tickets as there are faults, spread evenly: what chance finds in windows this wide.
    step = (rows[-1][0] - rows[0][0]) / (len(windows) + 1)
    null.count([rows[0][0] + step * (number + 1) for number in range(len(windows))], windows)
    missing = []
    if tally.missed or tally.false:
        missing.append(f"{class_name}: {tally.missed} missed and {tally.false} false; none of either is asked for")
    return [{"recording": class_name, **tally.figures()},
            {"recording": f"  null: {len(windows)} tickets, evenly", **null.figures()}], missing


def score_air_handler(options, folder):
    """No labels: what is asked for is silence in gaps, and tickets only when messages come."""
    devices = {device: read_device(os.path.join(options.data, "air-handler", "devices", f"{device}.csv"))
               for device in AIR_HANDLERS}
    opened, _ = backtest(options, folder, "air-handler", "air-handler", devices)
    silent = 0
    for device, tickets in opened.items():
        times = [at for at, _ in devices[device]]
        silent += sum(1 for at in tickets if not any(0 <= at - seen <= SILENCE_SECONDS_MAX for seen in times))
    figures = {"recording": "air-handler (no labels)", "tickets": sum(map(len, opened.values())),
               "tickets_in_gaps": silent,
               "opened": {device: [rfc3339(at) for at in tickets] for device, tickets in opened.items()}}
    missing = [f"air-handler: {silent} tickets opened in gaps; none is asked for"] if silent else []
    if not figures["tickets"]:
        missing.append("air-handler: no ticket, though the supply air was warm for whole days")
    return figures, missing


def print_table(rows, air):
    print(f"{'recording':<34}{'found':>7}{'false':>7}{'missed':>8}{'F1':>8}{'delay, median':>16}{'p90':>10}")
    for row in rows:
        print(f"{row['recording']:<34}{row['found']:>7}{row['false']:>7}{row['missed']:>8}{row['f1']:>8.3f}"
              f"{delay(row['delay_median_s']):>16}{delay(row['delay_p90_s']):>10}")
    print(f"{air['recording']:<34}{air['tickets']:>7} tickets, {air['tickets_in_gaps']} of them in gaps")


def delay(value):
    if value is None:
        return "-"
    if abs(value) < 600:
        return f"{value} s"
    return f"{value / 60:.0f} min" if abs(value) < 7200 else f"{value / 3600:.1f} h"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faultgate", required=True, help="the program")
    parser.add_argument("--data", required=True, help="folder with skab/, nab/ and air-handler/")
    parser.add_argument("--rules", required=True, help="folder with the rule files")
    parser.add_argument("--draws", type=int, default=5, help="draws of random heads (default 5)")
    parser.add_argument("--seed", type=int, default=2, help="seed of the heads (default 2)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--require", action="store_true", help="exit with 1 below the required marks")
    options = parser.parse_args()
    # The program runs in another folder, so a path relative to this one would lead nowhere.
    for name in ("faultgate", "data", "rules"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return options


def main():
    options = arguments()
    missing_parts = [part for part in ("skab", "nab", "air-handler")
                     if not os.path.isdir(os.path.join(options.data, part))]
    if missing_parts:
        reason = f"no folder {', '.join(missing_parts)} in {options.data}; the recordings are not part of the project"
        print(json.dumps({"skipped": reason}) if options.format == "json" else f"skipped: {reason}")
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="faultgate-score-") as folder:
            rows, missing = score_pump(options, folder)
            for class_name, base, device in LABELLED:
                more, lacking = score_labelled(options, folder, class_name, base, device)
                rows, missing = rows + more, missing + lacking
            air, lacking = score_air_handler(options, folder)
            missing += lacking
    except (CannotRun, OSError, ValueError, KeyError) as error:
        print(f"score: {error}", file=sys.stderr)
        return 2
    if options.format == "json":
        print(json.dumps({"seed": options.seed, "draws": options.draws, "rows": rows, "air_handler": air,
                          "below_required": missing}, indent=1))
    else:
        print_table(rows, air)
        for line in missing:
            print(f"below: {line}")
    return 1 if options.require and missing else 0


if __name__ == "__main__":
    sys.exit(main())
