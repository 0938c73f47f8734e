"""ask_setools.py POLICY QUESTIONS: loads a policy once. A line on stdin is how many questions are asked of
setools' API, beginning with the first (lines of SOURCE TARGET CLASS); prints the microseconds."""

import sys
import time

import setools

policy = setools.SELinuxPolicy(sys.argv[1])
with open(sys.argv[2]) as file:
    questions = [line.split() for line in file]
for line in sys.stdin:
    start = time.monotonic()
    for source, target, tclass in questions[: int(line)]:
        query = setools.TERuleQuery(
            policy, ruletype=["allow"], source=source, target=target, tclass=[tclass]
        )
        granted = set()
        for rule in query.results():
            if rule.enabled():
                granted |= rule.perms
    print(f"{(time.monotonic() - start) * 1e6:.2f}", flush=True)
