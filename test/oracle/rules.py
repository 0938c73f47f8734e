"""Answers questions about a policy with setools, the library behind sesearch(1).

rules.py POLICY: reads questions as JSON, one a line (source, target, class, booleans), and prints for
each a line of JSON: the allow rules that sesearch -A shows, and whether each holds. setools goes through
every rule for each query, so that its rules are indexed here; the first questions are put to its own
query as well, and have to come to the same.
"""

import collections
import json
import sys

import setools

CHECKED = 3

policy = setools.SELinuxPolicy(sys.argv[1])
index = collections.defaultdict(list)
for rule in policy.terules():
    if rule.ruletype == setools.TERuletype.allow:
        index[str(rule.source), str(rule.target), str(rule.tclass)].append(rule)

# The type, and the attributes under which rules may name it.
names = {
    str(it): [str(it), *(str(attribute) for attribute in it.attributes())]
    for it in policy.types()
}

for number, line in enumerate(sys.stdin):
    question = json.loads(line)
    found = [
        rule
        for source in names[question["source"]]
        for target in names[question["target"]]
        for rule in index[source, target, question["class"]]
    ]
    if number < CHECKED:
        query = setools.TERuleQuery(
            policy,
            ruletype=["allow"],
            source=question["source"],
            target=question["target"],
            tclass=[question["class"]],
        )
        own = sorted(str(rule) for rule in query.results())
        if own != sorted(str(rule) for rule in found):
            sys.exit(f"setools' own query finds {own} for {question}")
    rules = [
        {
            "source": str(rule.source),
            "target": str(rule.target),
            "permissions": sorted(rule.perms),
            "holds": rule.enabled(**question["booleans"]),
        }
        for rule in found
    ]
    print(json.dumps(rules), flush=True)
