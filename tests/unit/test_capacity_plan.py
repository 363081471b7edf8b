import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.capacity.__main__ import main
from loadtest.capacity.fit import (
    TimedCall,
    least_squares,
    lone_factors,
    prepare_cost,
    stage_costs,
)
from loadtest.capacity.plan import (
    OVERLOAD,
    OVERLOAD_LATENCY,
    Effort,
    Plan,
    Question,
    crowd,
    expect,
    fewest_replicas,
    find_bounds,
    make_plan,
    saturation_rtfx,
)
from loadtest.capacity.profile import (
    FOLDER,
    Call,
    CallCost,
    MachineProfile,
    StageCosts,
    StageName,
    read_profile,
)
from loadtest.dictation import Habit
from serve_app.errors import WhisperOxError
from serve_app.serving.profile import load_profile, profile_path
from tests.unit.machines import ENCODE, machine

ROUGH = Effort(200, (0,))
ROUGHER = Effort(100, (0,), least_seconds=60)
HABIT = Habit()


def laptop(decode_seconds: float = 0.5) -> MachineProfile:
    """About 10 times real time, in chunks of 15 s."""
    decode = CallCost(call=0.02, window=0.1, step=0.01 * decode_seconds, token=0.004)
    calls = [[ENCODE, Call(stage="generate", tokens=50)]]
    return machine(calls=calls, encode=0.6, decode=decode, workers=2)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(laptop(), Question(60, HABIT, p95_seconds=4.0), ROUGH)


def replicas(users: int, p95_seconds: float, decode_seconds: float = 0.5) -> int:
    profile, question = laptop(decode_seconds), Question(users, HABIT, p95_seconds)
    saturation = saturation_rtfx(profile, HABIT)
    return fewest_replicas(profile, question, saturation, ROUGHER)


@pytest.mark.long
@settings(max_examples=3)
@given(st.integers(1, 60), st.floats(2.5, 20))
def test_twice_the_users_never_need_fewer_replicas(users: int, p95: float) -> None:
    assert replicas(users, p95) <= replicas(2 * users, p95)


@pytest.mark.long
@settings(max_examples=3)
@given(st.integers(1, 80), st.floats(2.5, 10), st.floats(1, 3))
def test_more_patience_never_needs_more_replicas(users: int, p95: float, more: float) -> None:
    assert replicas(users, p95 * more) <= replicas(users, p95)


@pytest.mark.long
@settings(max_examples=3)
@given(st.integers(5, 80), st.floats(1.5, 4))
def test_a_slower_decoder_never_needs_fewer_replicas(users: int, slower: float) -> None:
    assert replicas(users, 8.0) <= replicas(users, 8.0, decode_seconds=0.5 * slower)


def test_the_plan_meets_its_target_below_saturation(plan: Plan) -> None:
    assert plan.expected.p95 <= 4.0
    assert plan.utilisation < 1
    assert plan.cores == 2 * plan.replicas
    assert plan.expected.refused_share == 0


def test_one_replica_less_would_not_do(plan: Plan) -> None:
    fewer = expect(laptop(), Question(60, HABIT), plan.replicas - 1, effort=ROUGH)
    assert fewer.p95 > 4.0


def test_spare_replicas_come_on_top() -> None:
    question = Question(4, HABIT, p95_seconds=10.0, spare_replicas=2)
    assert make_plan(laptop(), question, ROUGHER).replicas == 3


def test_a_target_below_a_lone_request_is_refused() -> None:
    with pytest.raises(WhisperOxError, match="one user alone sees"):
        make_plan(laptop(), Question(2, HABIT, p95_seconds=0.2), ROUGHER)


def test_no_users_are_no_question() -> None:
    with pytest.raises(WhisperOxError, match="nobody comes"):
        make_plan(laptop(), Question(0, HABIT))


@pytest.mark.long
def test_bounds_keep_those_who_are_taken_in_quick() -> None:
    profile = laptop()
    saturation = saturation_rtfx(profile, HABIT)
    bounds, busy, overload = find_bounds(profile, HABIT, saturation, ROUGH)
    assert 0 < overload.refused_share < 1
    assert overload.p95 <= OVERLOAD_LATENCY * busy.p95
    boundless = expect(profile, crowd(HABIT, OVERLOAD * saturation), effort=ROUGH)
    assert boundless.p95 > OVERLOAD_LATENCY * busy.p95
    assert bounds.max_requests >= overload.most_open


def test_a_crowd_offers_its_share_of_saturation() -> None:
    assert crowd(HABIT, 16.0).offered_rtfx == pytest.approx(16.0)


def test_its_patch_fits_a_serve_config(tmp_path: Path, plan: Plan) -> None:
    document = yaml.safe_load(profile_path("dev").read_text())
    application, patch = document["applications"][0], plan.patch()
    for section, keys in patch["args"].items():
        application["args"].setdefault(section, {}).update(keys)
    by_name = {deployment["name"]: deployment for deployment in application["deployments"]}
    by_name["Transcriber"].update(patch["deployments"][0])
    file = tmp_path / "written.yaml"
    file.write_text(yaml.safe_dump(document))
    written = load_profile(str(file))
    transcriber = written.deployment_options["Transcriber"]
    assert written.settings.admission.max_wait_seconds == plan.max_wait_seconds
    assert transcriber["num_replicas"] == plan.replicas
    assert transcriber["max_ongoing_requests"] > written.settings.engine.max_concurrent_requests


@pytest.mark.long
def test_the_command_plans_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile, output = tmp_path / "laptop.json", tmp_path / "plan.json"
    profile.write_text(laptop().model_dump_json())
    arguments = ["--profile", str(profile), "--users", "4", "--p95", "9", "--patch"]
    assert main([*arguments, "--output", str(output)]) == 0
    written = yaml.safe_load(capsys.readouterr().out)
    found = json.loads(output.read_text())["plan"]
    assert written["args"]["admission"]["max_wait_seconds"] == found["max_wait_seconds"]


def test_an_unknown_profile_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--profile", "nowhere", "--users", "4"]) == 2
    assert "no profile" in capsys.readouterr().err


def test_a_broken_profile_says_where(tmp_path: Path) -> None:
    broken = {**laptop().model_dump(), "workers": 0}
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    with pytest.raises(WhisperOxError, match=r"broken\.json is not a machine profile: .*workers"):
        read_profile(str(tmp_path / "broken.json"))


def test_the_profiles_that_come_with_it_are_sound() -> None:
    for path in FOLDER.glob("*.json"):
        assert read_profile(path.stem).name == path.stem


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "laptop.json"
    path.write_text(laptop().written())
    assert read_profile(str(path)) == laptop()


def timed(
    stage: StageName, cost: CallCost, *, slower: float = 1.0, lone: bool = False
) -> list[TimedCall]:
    """Calls of that cost, of one window or in batches, with every context."""
    batches = [(9,), (40,), (5, 30), (20, 20, 61), (3, 8, 9, 50), (12,) * 8, (70, 1) * 4]
    return [
        TimedCall(
            stage=stage,
            context_seconds=context,
            tokens=batch,
            seconds=slower * cost.seconds(batch, context),
        )
        for context in (10.0, 20.0, 30.0)
        for batch in batches
        if len(batch) == 1 or not lone
    ]


@given(
    st.floats(0, 1),
    st.floats(0.01, 0.1),
    st.floats(0, 0.1),
    st.floats(0.001, 0.1),
    st.floats(0, 0.01),
)
def test_costs_are_found_again_from_calls(
    call: float, second: float, step: float, token: float, token_second: float
) -> None:
    true = CallCost(call=call, second=second, step=step, token=token, token_second=token_second)
    found = stage_costs(timed("generate", true)).generate
    for tokens in ((25,), (10, 44, 7), (33,) * 16):
        for context in (10.0, 15.0, 30.0):
            expected = true.seconds(tokens, context)
            assert found.seconds(tokens, context) == pytest.approx(expected, rel=1e-3)


def test_an_encoder_costs_more_than_in_proportion_to_its_context() -> None:
    true = CallCost(second=0.004, square=0.00024)
    found = stage_costs(timed("encode", true)).encode
    assert found.seconds([0], 15.0) == pytest.approx(true.seconds([0], 15.0), rel=1e-3)


def test_no_cost_is_negative() -> None:
    found = least_squares([[1.0, n] for n in (1, 2, 3)], [3.0, 2.0, 1.0])
    assert min(found) >= 0


def test_lone_calls_are_told_by_how_many_times_as_long_they_take() -> None:
    loaded = StageCosts(
        encode=CallCost(second=0.01), generate=CallCost(window=0.2, token=0.01, token_second=0.001)
    )
    lone = timed("encode", loaded.encode, slower=0.6, lone=True)
    lone += timed("generate", loaded.generate, slower=1.5, lone=True)
    assert lone_factors(lone, loaded) == pytest.approx({"encode": 0.6, "generate": 1.5})


def test_preparation_is_a_line_over_audio() -> None:
    found = prepare_cost([5, 15, 30], [0.02, 0.04, 0.07])
    assert found.seconds(15) == pytest.approx(0.04)
