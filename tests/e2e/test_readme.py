"""Each snippet of the README does what the README says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from sidecar.core.model_list import compile_groups, read_model_list
from tests.e2e.conftest import System

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_client_snippet_prints_an_arm_and_an_answer(system: System) -> None:
    [code] = snippets("python")
    code = code.replace("http://127.0.0.1:4000", system.running.proxy_url)
    done = subprocess.run(
        [sys.executable, "-c", f"KEY = {system.key!r}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"(primary|canary) \{", done.stdout)


def test_the_yaml_snippet_is_an_experiment_of_two_arms() -> None:
    [config] = [yaml.safe_load(text) for text in snippets("yaml") if "model_list" in text]
    group = compile_groups(read_model_list(config))["judge"]
    assert {arm.name: arm.share_bp for arm in group.arms} == {"primary": 9_000, "canary": 1_000}


def test_the_two_lines_are_the_ones_our_own_configuration_has() -> None:
    [lines] = [yaml.safe_load(text) for text in snippets("yaml") if "custom_auth" in text]
    config = yaml.safe_load((ROOT / "proxy_config.yaml").read_text())
    assert config["litellm_settings"]["callbacks"] == lines["litellm_settings"]["callbacks"]
    assert config["general_settings"]["custom_auth"] == lines["general_settings"]["custom_auth"]
    read_model_list(config)


def shell(system: System, commands: str) -> str:
    """Run a snippet as a user would, against the stack of these tests."""
    done = subprocess.run(
        ["bash", "-ec", commands.replace("http://127.0.0.1:4001", system.running.sidecar_url)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SIGNALOPS_URL": system.running.sidecar_url,
            "SIGNALOPS_ADMIN_KEY": system.running.admin_key,
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_for_results_answer(system: System) -> None:
    [commands] = [text for text in snippets("sh") if "experiment results" in text]
    said = shell(system, commands)
    assert "KEEP COLLECTING." in said
    assert '"decision":{' in said.replace(" ", "")


def test_the_command_that_hands_a_group_over_starts_at_the_ramps_first_step(
    system: System,
) -> None:
    [command] = [text for text in snippets("sh") if "experiment create" in text]
    said = shell(system, command)
    assert "active on judge: primary 99 %, canary 1 %" in said
    experiment_id = said.split()[0]
    system.admin.post(f"/v1/experiments/{experiment_id}/stop", json={}).raise_for_status()
    system.settle()


def test_every_target_the_readme_names_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    )
    assert set(re.findall(r"make ([a-z]+)", README)) - {"lists"} <= targets
