#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every endpoint asked by curl, of a service that runs: docs/monitoring/transcripts.md, and whether it is still so.

usage: transcripts.py [--write] [program]     the program: example_monitored_service, built already

Figures, times and texts differ each time; commands, statuses, headers and the members of bodies do not.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import time

here = pathlib.Path(__file__).resolve().parent
project = here.parent.parent
document = project / "docs" / "monitoring" / "transcripts.md"
TOKEN = "an-example-token"  # of 16 characters
API = "/api/v1/resilience"
ADDRESS = "http://127.0.0.1:8080"  # what the document says
CONTROL = f"-H 'X-Resilience-Control: 1' -H 'Authorization: Bearer {TOKEN}'"

# What is said of each, and the arguments of `curl -sS -i`.
SCRIPT = [
    ("What there is", f"{ADDRESS}{API}"),
    ("All circuits", f"{ADDRESS}{API}/circuit-breakers"),
    ("One circuit", f"{ADDRESS}{API}/circuit-breakers/jira_api"),
    ("All circuits in a word", f"{ADDRESS}{API}/health"),
    ("The same with details", f"'{ADDRESS}{API}/health?details=true'"),
    ("All circuits in a line each", f"{ADDRESS}{API}/summary"),
    ("Whether the service answers at all", f"{ADDRESS}{API}/live"),
    ("Policies of all kinds, one of them", f"'{ADDRESS}{API}/policies?kind=retry'"),
    ("All policies of a name", f"{ADDRESS}{API}/policies/jira_api"),
    ("What happened", f"'{ADDRESS}{API}/events?kind=state_changed&since=1&limit=2'"),
    ("What happens, as it does", f"-N -m 2 '{ADDRESS}{API}/events/stream?name=jira_api'"),
    ("What Prometheus reads", f"{ADDRESS}/metrics"),
    ("The page", f"-I {ADDRESS}/dashboard"),
    ("Keep a circuit open", f"-X POST {CONTROL} '{ADDRESS}{API}/circuit-breakers/jira_api/force-open?reason=deploy'"),
    ("Open it for a time", f"-X POST {CONTROL} '{ADDRESS}{API}/circuit-breakers/jira_api/open-for?duration=30s'"),
    ("Let all calls pass and only count", f"-X POST {CONTROL} {ADDRESS}{API}/circuit-breakers/jira_api/metrics-only"),
    ("Let all calls pass", f"-X POST {CONTROL} {ADDRESS}{API}/circuit-breakers/jira_api/disable"),
    ("Close it", f"-X POST {CONTROL} '{ADDRESS}{API}/circuit-breakers/jira_api/reset?reason=deployed'"),
    ("Change a config", f"-X PATCH {CONTROL} -d '{{\"max_attempts\": 4, \"base_delay\": \"20ms\"}}' "
                        f"'{ADDRESS}{API}/policies/jira_api?kind=retry'"),
    ("A value that cannot be", f"-X PATCH {CONTROL} -d '{{\"max_attempts\": 0}}' "
                               f"'{ADDRESS}{API}/policies/jira_api?kind=retry'"),
    ("Several policies have that name", f"-X PATCH {CONTROL} -d '{{}}' {ADDRESS}{API}/policies/jira_api"),
    ("A name that there is not", f"{ADDRESS}{API}/circuit-breakers/nope"),
    ("Nobody said who asks", f"-X POST -H 'X-Resilience-Control: 1' {ADDRESS}{API}/circuit-breakers/jira_api/reset"),
    ("From a page of another origin", f"-X POST {CONTROL} -H 'Origin: http://evil.example' "
                                      f"{ADDRESS}{API}/circuit-breakers/jira_api/reset"),
    ("A method that there is not", f"-X DELETE {ADDRESS}{API}/circuit-breakers/jira_api"),
]
SHOWN_HEADERS = ("content-type", "allow", "www-authenticate", "content-security-policy")


def ask(arguments, address):
    """The answer as curl prints it: status line, chosen headers, body."""
    command = "curl -sS -i " + arguments.replace(ADDRESS, address)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *headers = head.split("\n")
    return status, [h for h in headers if h.split(":")[0].lower() in SHOWN_HEADERS], body


def shortened(value):
    """One element stands for all of an array."""
    if isinstance(value, dict):
        return {name: shortened(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shortened(element) for element in value[:1]] + (["..."] if len(value) > 1 else [])
    return value


def shown(headers, body):
    """The lines of a body for the document."""
    if "application/json" in "".join(headers) and body:
        whole = json.loads(body)
        return [body] if len(body) < 600 else json.dumps(shortened(whole), indent=2, ensure_ascii=False).split("\n")
    lines = body.rstrip("\n").split("\n") if body else []
    most = 12
    return [line if len(line) < 400 else line[:400] + "..." for line in lines[:most]] + (["..."] if len(lines) > most else [])


def write(answers):
    text = [
        "# Every endpoint, by curl", "",
        "[examples/monitored_service.cpp](../../examples/monitored_service.cpp), asked while it runs with a token in",
        "`RESILIENCE_CONTROL_TOKEN`. Written by `tests/monitoring/transcripts.py --write`, which CI runs to see that the",
        "answers are still of this form. Of the headers those are shown that differ; of long arrays the first element.", "",
    ]
    for (what, arguments), (status, headers, body) in zip(SCRIPT, answers):
        text += [f"## {what}", "", "```console", "$ curl -sS -i " + arguments, status, *headers, ""]
        text += [*shown(headers, body), "```", ""]
    document.write_text("\n".join(text))


def read():
    """Heading -> (command, status, headers, body's lines) of the document."""
    found = {}
    for section in document.read_text().split("\n## ")[1:]:
        heading, _, rest = section.partition("\n")
        lines = rest.split("```console\n")[1].split("\n```")[0].split("\n")
        head = lines.index("")
        found[heading] = (lines[0], lines[1], lines[2:head], "\n".join(lines[head + 1:]))
    return found


def shape(value):
    """What does not depend on the moment: the members of objects, in their order."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "a value"


def same_shape(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_shape(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return not a or not b or same_shape(a[0], b[0])
    return isinstance(a, str) or isinstance(b, str)  # null where there is nothing to show, else more


def differs(documented, answer):
    """In what an answer is not what the document says, or empty."""
    _, status, headers, body = documented
    if status.split(" ")[1] != answer[0].split(" ")[1]:
        return f"the status is {answer[0]}, documented is {status}"
    if [h.lower() for h in headers] != [h.lower() for h in answer[1]]:
        return f"the headers are {answer[1]}, documented are {headers}"
    if "application/json" in "".join(headers):
        documented_shape, now = shape(json.loads(body)), shape(json.loads(answer[2]))
        return "" if same_shape(documented_shape, now) else f"the body is {now}, documented is {documented_shape}"
    word = re.compile(r"^[#a-z_: ]*")
    first_words = [word.match(line).group() for line in body.split("\n")[:3]]
    now = [word.match(line).group() for line in answer[2].split("\n")[:3]]
    return "" if first_words == now or not body else f"the body begins with {now}, documented is {first_words}"


def main():
    arguments = sys.argv[1:]
    writes = "--write" in arguments
    program = next((a for a in arguments if not a.startswith("--")), None)
    if program is None:
        subprocess.run(["cmake", "--preset", "release"], cwd=project, stdout=subprocess.DEVNULL, check=True)
        subprocess.run(["cmake", "--build", "build/release", "--target", "example_monitored_service"], cwd=project, check=True)
        program = project / "build" / "release" / "examples" / "example_monitored_service"
    service = subprocess.Popen([program, "0", "60"], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "RESILIENCE_CONTROL_TOKEN": TOKEN})
    try:
        address = re.search(r"http://[^/ ]*", service.stdout.readline()).group()
        time.sleep(4)  # until the second circuit has tripped and recovered
        answers = [ask(command, address) for _, command in SCRIPT]
    finally:
        service.kill()
        service.wait()
    if writes:
        write(answers)
        print(f"transcripts: {len(answers)} written to {document.relative_to(project)}")
        return 0
    documented = read()
    wrong = 0
    for (what, command), answer in zip(SCRIPT, answers):
        complaint = "is not in the document" if what not in documented else differs(documented[what], answer)
        if what in documented and documented[what][0] != "$ curl -sS -i " + command:
            complaint = "the command is another"
        if complaint:
            wrong += 1
            print(f"transcripts: {what}: {complaint}")
    print(f"transcripts: {len(answers)} cases, {wrong} failed")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
