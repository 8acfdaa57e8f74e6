"""A sweep's file: its points, in which order, and what no sweep can be made of."""

import itertools
import math

import pytest
import yaml

from distill.jobs.sweep_file import Points, read_sweep

COMMAND = ["${env}", "${interpreter}", "-m", "distill", "fit", "--config", "conf/compress.yaml", "${args}"]
TEMPERATURE = {"model.temperature": {"values": [1.0, 0.1]}}


def written(folder, **content) -> str:
    path = folder / "sweep.yaml"
    path.write_text(
        yaml.safe_dump({"method": "grid", "parameters": TEMPERATURE, "command": COMMAND} | content, sort_keys=False)
    )
    return path


def test_a_grid_is_every_pair(tmp_path):
    """A grid is the product of its values, the last one changing fastest; integers may be given by their bounds."""
    parameters = {"model.network": {"value": "net3"}, "seed_everything": {"min": 1, "max": 3}, **TEMPERATURE}
    sweep = read_sweep(written(tmp_path, parameters=parameters))
    assert [tuple(point.values()) for point in sweep.grid()] == [
        ("net3", seed, temperature) for seed, temperature in itertools.product((1, 2, 3), (1.0, 0.1))
    ]
    assert sweep.varied == ["seed_everything", "model.temperature"]
    assert Points(sweep, 4, 0).known() == sweep.grid()[:4]


def test_the_first_points_of_a_grid_cost_no_more(tmp_path):
    """A grid of more points than there is room for has its first ones at once."""
    many = {name: {"min": 0, "max": 10**9} for name in ("seed_everything", "data.num_threads")}
    points = Points(read_sweep(written(tmp_path, parameters=many)), 3, seed=0)
    assert [point["data.num_threads"] for point in points.known()] == [0, 1, 2]


def test_numbers_are_those_of_the_configs(tmp_path):
    """1e-5 is a number, as in a run's config, though YAML 1.1 takes it for a word."""
    (tmp_path / "sweep.yaml").write_text(
        "{method: random, command: ['${env}', '${interpreter}', -m, distill, fit, '${args}'], parameters: "
        "{a: {distribution: log_uniform_values, min: 1e-5, max: 1.E+2}, b: {values: [-2e3, 1e, e5]}}}"
    )
    parameters = read_sweep(tmp_path / "sweep.yaml").parameters
    assert (parameters["a"]["min"], parameters["a"]["max"]) == (1e-5, 100.0)
    assert parameters["b"]["values"] == [-2000.0, "1e", "e5"]


def test_a_points_options_stand_where_args_does(tmp_path):
    """`${args}` becomes the point's options, after those given for all runs."""
    sweep = read_sweep(written(tmp_path, command=[*COMMAND, "--data.seed=3"]))
    assert sweep.options_of({"model.temperature": 0.1, "trainer.deterministic": True}, ["--x", "1"]) == [
        *("--config", "conf/compress.yaml", "--x", "1"),
        *("--model.temperature=0.1", "--trainer.deterministic=True", "--data.seed=3"),
    ]


def test_random_points_are_counted(tmp_path):
    """Points come from the seed and their number alone, in their ranges; more points begin with fewer."""
    parameters = {
        "model.temperature": {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0},
        "model.decay": {"min": 0.5, "max": 0.9},
        "data.batch_size": {"min": 16, "max": 18},
        "model.network": {"values": ["net1", "net2"], "probabilities": [0.9, 0.1]},
    }
    sweep = read_sweep(written(tmp_path, method="random", parameters=parameters, run_cap=3))
    many = Points(sweep, 200, 5).known()
    assert Points(sweep, None, 5).known() == many[:3]
    assert Points(sweep, None, 6).known() != many[:3]
    assert len({str(point) for point in many}) == 200
    assert all(0.001 <= point["model.temperature"] <= 1 and 0.5 <= point["model.decay"] <= 0.9 for point in many)
    assert {point["data.batch_size"] for point in many} == {16, 17, 18}
    exponents = [math.log10(point["model.temperature"]) for point in many]
    assert sum(exponents) / 200 == pytest.approx(-1.5, abs=0.25)  # 4 standard errors
    assert sum(point["model.network"] == "net1" for point in many) == pytest.approx(180, abs=17)  # 4 standard errors


def test_a_search_goes_on_from_what_it_found(tmp_path):
    """The package sweeps looks where scores were high; a search that was stopped goes on with the same points."""
    pytest.importorskip("sweeps")
    parameters = {"model.temperature": {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0}}
    metric = {"name": "student/score", "goal": "maximize"}
    sweep = read_sweep(written(tmp_path, method="bayes", metric=metric, parameters=parameters))
    whole, parts = Points(sweep, 6, 3), Points(sweep, 6, 3)

    def scores(points):
        return lambda number: {
            "game": "pong",
            "student": {
                "mean": -abs(math.log10(points.made[number]["model.temperature"]) + 2),
                "interval95": [0.0, 0.0],
            },
        }

    found = list(whole.each(scores(whole)))
    parts.resume(found[:3])
    assert list(parts.each(scores(parts))) == found
    best = max(found, key=lambda point: -abs(math.log10(point["model.temperature"]) + 2))
    assert found.index(best) > 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "annealing"}, "method is annealing; it must be one of grid, random, bayes"),
        ({"methods": "grid"}, "unknown key 'methods'; did you mean method?"),
        ({"parameters": {}}, "name one at least"),
        ({"parameters": {"model.temperature": {"values": []}}}, "model.temperature has no values; name one at least"),
        ({"parameters": {"model": {"parameters": TEMPERATURE}}}, "an option's name stands in one piece"),
        ({"parameters": {"model.temperature": {"min": 0.1, "max": 1.0}}}, "endlessly many values"),
        ({"parameters": {"model.temperature": {"min": 2, "max": 1}}}, "must be integers in this order"),
        ({"parameters": {"model.temperature": {"min": 0.1, "max": math.inf}}}, "must be numbers in this order"),
        (
            {"parameters": {"data.batch_size": {"distribution": "int_uniform", "min": 0.5, "max": 2}}},
            "min 0.5 and max 2; they must be integers",
        ),
        ({"parameters": {"model.decay": {"distribution": "normal", "sigma": "wide"}}}, "mu None and sigma wide"),
        ({"parameters": {"model.decay": {"values": [0.9], "probabilities": 1.0}}}, "a probability for each of its"),
        ({"parameters": {"model.decay": {"values": [0.9], "probabilities": ["a"]}}}, "a probability for each of its"),
        ({"command": 5}, "command must be"),
        ({"name": "../../elsewhere"}, "it becomes a folder's, so it must have no slash"),
        ({"parameters": {"model.temperature": {"min": 2}}}, "must have min and max"),
        ({"parameters": {"model.temperature": {"distribution": "beta"}}}, "distribution beta; here it must be one of"),
        ({"command": ["python", "train.py"]}, "command must be [${env}, ${interpreter}, -m, distill, fit"),
        ({"command": [*COMMAND[:-1], "${args_no_hyphens}"]}, "command must be"),
        ({"run_cap": 0}, "run_cap is 0; it must be 1 or more"),
    ],
)
def test_mistakes(tmp_path, change, message):
    """What is wrong with a file is said in one line."""
    with pytest.raises(ValueError, match=r"sweep\.yaml") as refusal:
        read_sweep(written(tmp_path, **change))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_no_sweep(tmp_path):
    """Neither a missing file nor one that is no YAML, or no mapping, is a sweep."""
    for content in ("a: [", "- 1", ""):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(ValueError, match=r"bad\.yaml"):
            read_sweep(tmp_path / "bad.yaml")
    with pytest.raises(ValueError, match=r"cannot be read"):
        read_sweep(tmp_path / "none.yaml")
