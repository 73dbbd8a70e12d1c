"""The container recipe: built and run by a container tool where there is one; elsewhere its steps run without one."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from authorid import Scorer

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


class Stage(NamedTuple):
    """What follows one FROM: its base image, and pairs of an instruction and its argument."""

    base: str
    steps: list[tuple[str, str]]

    def last(self, instruction: str) -> str:
        return [argument for name, argument in self.steps if name == instruction][-1]


def read_stages() -> list[Stage]:
    lines = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    stages: list[Stage] = []
    for line in lines:
        if line and not line.startswith("#"):
            name, argument = line.split(maxsplit=1)
            if name == "FROM":
                stages.append(Stage(argument.split()[0], []))
            else:
                stages[-1].steps.append((name, argument))
    return stages


BUILD, FINAL = read_stages()


def test_the_image_has_no_compiler_and_does_not_run_as_root():
    assert FINAL.base == f"{BUILD.base}-slim"
    assert not [argument for name, argument in FINAL.steps if name == "RUN"]
    assert int(FINAL.last("USER").split(":")[0]) > 0
    assert json.loads(FINAL.last("ENTRYPOINT")) == ["authorid"]


def test_the_build_gets_what_the_package_consists_of():
    given = context()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    homes = set(project["tool"]["setuptools"]["package-dir"].values())
    assert homes | {project["project"]["readme"], *project["project"]["license-files"]} <= given


def test_the_documented_command_is_that_of_the_recipe():
    page = (ROOT / "docs" / "guide" / "your-own-classifier.md").read_text("utf-8")
    recipe = re.sub(r"^# ? ?", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "docker" in block]
    words = [shlex.split(text.replace("\\\n", " ")) for text in (block, recipe.split("\n\n")[1])]
    assert words[0] == words[1]


def context() -> set[str]:
    """The names that .dockerignore lets into the build."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    return {line[1:] for line in lines if line.startswith("!")}


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory whose ``letters`` everybody may read and whose ``out`` everybody may write."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        shutil.copytree(EXAMPLES, root / "letters")
        (root / "out").mkdir()
        (root / "out").chmod(0o777)
        yield root


def check(out: Path) -> None:
    """The results are those of this checkout."""
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        rows = {Path(row["path"]).name: (row["status"], row["author"]) for row in csv.DictReader(stream)}
    expected = Scorer.load(effort="auto").score([EXAMPLES])
    assert rows == {Path(row.path).name: (row.status, row.author) for row in expected}
    assert len(rows) == 6


# With a container tool -------------------------------------------------------------------------------------------


def container_tool() -> str:
    """docker or podman, if it works here and can get the base images; skips the test otherwise."""
    problem = "neither docker nor podman is installed"
    for tool in ("docker", "podman"):
        if shutil.which(tool):
            for arguments in (["info"], ["pull", BUILD.base], ["pull", FINAL.base]):
                done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    problem = f"{tool} {' '.join(arguments)}: {done.stderr.strip()[-200:]}"
                    break
            else:
                return tool
    pytest.skip(problem)


@pytest.mark.slow
def test_the_image_scores_without_network_root_and_a_writable_file_system(shared):
    tool = container_tool()
    image = f"authorid-test-{os.getpid()}"
    subprocess.run([tool, "build", "--tag", image, str(ROOT)], check=True)
    try:
        mounts = ["--volume", f"{shared}/letters:/letters:ro", "--volume", f"{shared}/out:/out"]
        isolated = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", str(os.getuid() or 65532)]
        command = [tool, "run", "--rm", *isolated, *mounts, image, "score", "/letters", "--out", "/out/results.csv"]
        subprocess.run(command, check=True)
    finally:
        subprocess.run([tool, "rmi", image], check=False)
    check(shared / "out")


# Without one -----------------------------------------------------------------------------------------------------


def in_directory(text: str, root: Path) -> str:
    """`text` with the directories of the image moved below `root`."""
    return re.sub(r"(?<![\w./])/(?=(?:src|opt|tmp)\b)", f"{root}/", text)


def run_stage(stage: Stage, root: Path) -> dict[str, str]:
    """Do what the steps of a stage do, below `root`; returns the variables that it sets."""
    environment: dict[str, str] = {}
    directory = root
    for name, argument in stage.steps:
        moved = in_directory(argument, root)
        if name == "WORKDIR":
            directory = Path(moved)
            directory.mkdir()
        elif (name, argument) == ("COPY", ". ."):
            copy_context(directory)
        elif name == "COPY":
            _, source, target = moved.split()
            assert source == target  # there is one root for both stages
            assert Path(source).is_dir()
        elif name == "RUN":
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where `python` is
            clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            subprocess.run(["sh", "-c", moved], cwd=directory, env={**clean, "PATH": path}, check=True)
        elif name == "ENV":
            environment |= dict(word.split("=", 1) for word in moved.split())
        else:
            assert name in ("USER", "ENTRYPOINT"), f"the test does not know {name}"
    return environment


def copy_context(directory: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in context():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, directory / name)


def isolation(user: str) -> list[str]:
    """How to run a command as `user` (``uid:gid``) and without network, as far as that is possible here."""
    uid, gid = user.split(":")
    # The user may read what belongs to root, because this test's Python may be in the home of root; but not write it.
    reads_all = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    as_user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *reads_all]
    root = os.geteuid() == 0
    for prefix in [["unshare", "--net", *as_user], as_user] if root else [["unshare", "--map-current-user", "--net"]]:
        if shutil.which(prefix[0]) and subprocess.run([*prefix, "true"], check=False).returncode == 0:
            return prefix
    return []


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory for what the image contains, which is large."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "opt").mkdir()
        yield Path(directory)


@pytest.mark.slow
def test_the_steps_of_the_recipe_give_a_command_that_needs_no_network_root_and_cache(shared, root):
    run_stage(BUILD, root)
    shutil.rmtree(root / "src")
    variables = run_stage(FINAL, root)
    variables["PATH"] = variables["PATH"].replace("$PATH", os.environ["PATH"])
    # Nothing at all can be written, not even below /tmp, except the results.
    for place in (root, *root.rglob("*")):
        if not place.is_symlink():
            place.chmod(place.stat().st_mode & ~0o222)
    prefix = isolation(FINAL.last("USER"))
    command = [*prefix, *json.loads(FINAL.last("ENTRYPOINT")), "score", str(shared / "letters")]
    subprocess.run([*command, "--out", str(shared / "out" / "results.csv")], env=variables, cwd="/", check=True)
    check(shared / "out")
    if os.geteuid() == 0 and prefix:
        uid = int(FINAL.last("USER").split(":")[0])
        assert (shared / "out" / "results.csv").stat().st_uid == uid
