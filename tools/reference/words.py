"""The table of identities in words."""

from collections.abc import Sequence

from hookline_receiver.cometchat.rules import RULES, Rule, Strength

DIGEST = "digest of the body"
_STRENGTHS = {
    Strength.OWN_ID: "strong",
    Strength.MILLISECONDS: "strong where the time is there in milliseconds, else weak",
    Strength.WEAK: "weak",
}


def rules_of(trigger: str) -> Sequence[Rule]:
    """How the trigger's events are identified, by shape; none: by a digest."""
    return RULES.get(trigger, ())


def shape(rule: Rule) -> str:
    """Which payloads the rule is for; "" where there is one shape."""
    return rule.name


def key(rule: Rule) -> str:
    """What makes the key."""
    if not rule.key:
        return DIGEST
    optional = [f"{_code(path)} if there" for path in rule.also]
    people = [f"uids of {_code(rule.people)}"] if rule.people else []
    return ", ".join([*map(_code, rule.key), *people, *optional])


def strength(rule: Rule) -> str:
    """Strong or weak."""
    return _STRENGTHS[rule.strength] if rule.key else "weak"


def ordering(rule: Rule) -> str:
    """What events of one conversation, group or session have in common."""
    words = (rule.partition.__doc__ or "").strip().rstrip(".")
    return "none" if words.startswith("None") else words


def time(rule: Rule) -> str:
    """When it happened."""
    return ", else ".join(map(_code, rule.time)) if rule.time else "none: when it was accepted"


def subject(rule: Rule) -> str:
    """What it is about."""
    kind, path = rule.subject
    return f"{kind}/{{{path}}}"


def volatile(rule: Rule) -> str:
    """Where a retry may show something else."""
    return ", ".join(map(_code, rule.volatile)) or "none"


def _code(path: str) -> str:
    return f"`{path}`"
