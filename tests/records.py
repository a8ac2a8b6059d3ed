"""Records to journal in tests and benchmarks."""

from datetime import datetime

from sidecar.core.calls import Answer, CallRecord, Outcome, new_call_id


def judge_record(now: datetime, unit_id: str = "u-1", post: str = "a post") -> CallRecord:
    """Make the record of an answered judge's call in an experiment; `replace` the rest."""
    return CallRecord(
        call_id=new_call_id(now),
        started_at=now,
        project_id="default",
        key_id="key-1",
        surface="chat",
        stream=False,
        requested_model="judge",
        group="judge",
        task="judge",
        labels=("relevant", "irrelevant", "maybe"),
        experiment_id="yaml-judge",
        epoch=1,
        stage=1,
        generation=3,
        unit_id=unit_id,
        unit_source="header",
        bucket=4711,
        assigned_arm="primary",
        share_bp=8000,
        served_deployment="judge-a",
        served_arm="primary",
        provider_model="gpt-4o-mini-2024-07-18",
        outcome=Outcome.SERVED,
        attempts=(),
        request={"model": "judge", "messages": [{"role": "user", "content": post}]},
        answer=Answer(
            text='{"label": "relevant", "confidence": 0.9, "reasoning": "It asks for advice."}'
        ),
        finish_reason="stop",
        prompt_tokens=320,
        completion_tokens=40,
        cached_tokens=0,
        cost_usd=0.00031,
        latency_ms=412.5,
        ttft_ms=None,
        status=200,
        error_class=None,
        metadata={"source": "forum"},
        response_id="chatcmpl-0f1e2d3c",
    )
