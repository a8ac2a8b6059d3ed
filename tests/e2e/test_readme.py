"""Each snippet of the README does what the README says."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from sidecar.core.model_list import compile_groups, read_model_list
from sidecar.up.laboratory.posts import sample_posts
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


def test_the_commands_from_edits_to_a_file_of_pairs_do_that(
    system: System, tmp_path: Path
) -> None:
    [commands] = [text for text in snippets("sh") if "training-data" in text]
    edit, review, export = commands.strip().splitlines()
    client = system.client()
    for number, post in enumerate(sample_posts()[:40]):  # a fifth is kept from training
        asked: Any = [{"role": "user", "content": post.post_text}]
        answer = client.chat.completions.with_raw_response.create(
            model="reply", messages=asked, user=f"readme-{number}"
        )
        call_id = answer.headers["x-signalops-call-id"]
        system.call(call_id)
        if number < 30:
            body = {"call_id": call_id, "edit": "Sorry about that! It is fixed now."}
            word = {**body, "reviewer": f"ann-{number}"}
            system.admin.post("/v1/feedback", json=word).raise_for_status()
    said = shell(system, f"CALL_ID={call_id}; {edit}")
    assert "edit" in said
    shell(system, f"echo q | {review}")
    written = tmp_path / "pairs.jsonl"
    export = export.replace("pairs.jsonl", str(written)).replace("default", "tests")
    shell(system, export)
    assert len(written.read_text().splitlines()) >= 10


def test_every_target_the_readme_names_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    )
    assert set(re.findall(r"make ([a-z]+)", README)) - {"lists"} <= targets
