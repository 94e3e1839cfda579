from benchmarks import folds


def test_five_commands_are_compared_with_one(monkeypatch, tmp_path):
    commands = []

    def run(command, **_):
        commands.append([part for part in command if "fold=" in part or "once" in part])

    monkeypatch.setattr(folds.subprocess, "run", run)
    rows = folds.run(repeats=2)
    assert len(commands) == 2 * 7
    assert [name.split("=")[1] for name, _ in commands[:7]] == [*"12345", "0", "0"]
    assert [once.split("=")[1] for _, once in commands[:7]] == ["1"] * 6 + ["5"]
    assert [row["folds"] for row in rows] == ["one after the other", "side by side"]
    assert all(len(row["each"]) == 2 for row in rows)
