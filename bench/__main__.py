"""
The measurements that claims of speed rest on: `python -m bench [NAME ...]`, all of them without a name.

Each is a program of its own and compares what it measures with something else in the same run: read the ratios. Nothing
here asserts anything; a noisy machine makes noisy figures, not failures.
"""

import subprocess
import sys

from tools.packages import provide

BENCHES = {
    "accept": "what an accepted event costs, step by step, beside bare Falcon, nginx and bare flushes",
    "edge": "gunicorn's workers with the same small application",
    "journal": "durable appends beside SQLite and bare flushes",
    "envelope": "reading envelope and identity beside decoding in full",
    "json_readers": "JSON readers",
    "store": "adding, claiming and settling, with and without a backlog",
    "typed": "typing a payload beside decoding it in full",
    "pipeline": "from the journal to the handlers, step by step",
    "fairness": "a healthy route alone, and beside one that hangs and one that refuses all",
    "routes": "swapping in a change of one subscription of 10,000, in one file and in parts",
    "turns": "what the operator's routes cost as their number grows: all, one turn, one shard",
    "agent": "an agent from cold beside a real API server: time and memory",
    "cluster": "operator, agent and receiver on a real API server, by subscriptions; takes a quarter of an hour",
    "sustained": "accept, carry, deliver and settle at once, and beside a backlog",
}


def main(names: list[str]) -> int:
    """Exit status 0 if every one ran to its end."""
    if unknown := [name for name in names if name not in BENCHES]:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    provide({"nginx": ["nginx-light"]}, "bench")
    return max([run(name) for name in names or BENCHES])


def run(name: str) -> int:
    """Run one and return its exit status."""
    print(f"\n=== {name}: {BENCHES[name]}\n", flush=True)
    return subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
