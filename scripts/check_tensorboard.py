"""Reads the event file of a run with TensorBoard itself and compares every number with metrics.jsonl.

Run: pip install tensorboard, then python scripts/check_tensorboard.py RUN_DIR...
"""

import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def check(run):
    log = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0}).Reload()
    found = {(tag, event.step): event.value for tag in log.Tags()["scalars"] for event in log.Scalars(tag)}
    written = {}
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        for key, value in event.items():
            if key != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                written[key, event["step"]] = value
    assert found.keys() == written.keys(), found.keys() ^ written.keys()
    for key, value in written.items():
        assert abs(found[key] - value) <= 1e-6 * max(1.0, abs(value)), (key, found[key], value)
    print(f"{run}: {len(found)} values of {len(log.Tags()['scalars'])} tags agree")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for path in sys.argv[1:]:
        check(pathlib.Path(path))
