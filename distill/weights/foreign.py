"""Teachers of other libraries as networks of ours.

What a library's own wrappers do to the game, and to the frames before its network sees them, is written down here,
because no file says it.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from distill.atari.cartridge import ALL_ACTIONS, games, legal_actions
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.errors import DistillError
from distill.networks import DQN, SHARED
from distill.weights.files import refusal
from distill.weights.foreign_files import Content

LAYERS = (*SHARED, "out")


class Library(NamedTuple):
    """What a library's own wrappers do."""

    env: EnvRules
    """To the game."""
    picture: str
    """To the last two screens of a step; see `distill.tools.pictures`."""
    stack: str
    """Before an episode's fourth frame."""


WRAPPED = EnvRules(fire_reset=True, life_loss=True)
LIBRARIES = {
    "Stable-Baselines3": Library(WRAPPED, "maximum of two frames in colour, grey, by area", "zeros, as here"),
    "CleanRL": Library(
        WRAPPED,
        "maximum of two frames in colour, by area, grey",
        "an episode's first frame, where there are zeros here",
    ),
    "atari-agents": Library(PAPER_RULES, "grey, by area, maximum of two frames", "zeros, as here"),
}
ACTIVATION_CLASSES = {"ReLU": "relu", "Tanh": "tanh"}


class Layout(NamedTuple):
    """How a library names the tensors of one kind of network."""

    library: str
    algorithm: str
    kind: Literal["values", "policy"]
    layers: tuple[str, ...]
    """Its names of ours, `LAYERS`; the last may be missing, see `head`."""
    head: str = ""
    """How the names of numbered further layers begin; their last is the output where `layers` does not name one."""
    atoms: str | None = None
    beside: tuple[str, ...] = ()
    """How the names of those begin that are not needed to act."""


def _nature(extractor: str, *out: str) -> tuple[str, ...]:
    return *(f"{extractor}.{layer}" for layer in ("cnn.0", "cnn.2", "cnn.4", "linear.0")), *out


_CRITIC = ("value_net.", "vf_features_extractor.", "mlp_extractor.value_net.")
_CLEANRL = tuple(f"network.{place}" for place in (0, 2, 4, 7, 9))
_ATARI_NET = (*(f"_AtariNet__features.{place}" for place in (0, 2, 4)), "_AtariNet__head.0", "_AtariNet__head.2")
LAYOUTS = (
    Layout(
        "Stable-Baselines3",
        "DQN",
        "values",
        _nature("q_net.features_extractor"),
        "q_net.q_net.",
        beside=("q_net_target.",),
    ),
    Layout(
        "Stable-Baselines3",
        "QR-DQN",
        "values",
        _nature("quantile_net.features_extractor"),
        "quantile_net.quantile_net.",
        beside=("quantile_net_target.",),
    ),
    Layout(
        "Stable-Baselines3",
        "actor-critic",
        "policy",
        _nature("pi_features_extractor", "action_net"),
        "mlp_extractor.policy_net.",
        beside=("features_extractor.", *_CRITIC),
    ),
    Layout(  # before actor and critic could have extractors of their own
        "Stable-Baselines3",
        "actor-critic",
        "policy",
        _nature("features_extractor", "action_net"),
        "mlp_extractor.policy_net.",
        beside=_CRITIC,
    ),
    Layout("CleanRL", "C51", "values", _CLEANRL, atoms="atoms"),
    Layout("CleanRL", "DQN", "values", _CLEANRL),
    Layout("atari-agents", "C51", "values", _ATARI_NET, atoms="_AtariNet__support"),
    Layout("atari-agents", "DQN or M-DQN", "values", _ATARI_NET),
)
"""The first that fits is meant."""


def converted(content: Content, game: str | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return another library's network by our names, and its header.

    Args:
        content: What the file holds.
        game: Which is to be played, where the file does not say; ALE name.

    Raises:
        ValueError: for a network of another kind, of other observations, or of another number of actions; and without
            any game.
    """
    layout = _layout(content)
    algorithm = layout.algorithm if layout.algorithm != "actor-critic" else _algorithm(content.said)
    named = f"a {content.library} {algorithm}"
    _check_spaces(named, content.said)
    tensors = _named_as_here(layout, content.tensors)
    pixels = "0 to 255" if _option(content.said, "normalize_images") is False else "0 to 1"
    if pixels == "0 to 255":
        tensors["conv1.weight"] = tensors["conv1.weight"] * 255  # which ours divides them by
    if algorithm == "QR-DQN":
        tensors |= _mean_of_quantiles(tensors, content.said)
    env = LIBRARIES[content.library].env
    environment = content.said.get("env_id")
    if isinstance(environment, str):
        game = _game_of(environment) or game
    if game is None:
        raise DistillError(f"{named}, which does not say what it plays; say which game")
    atoms = content.tensors[layout.atoms].float() if layout.atoms else None
    outputs, legal = len(tensors["out.bias"]) / (1 if atoms is None else len(atoms)), len(legal_actions(game))
    if outputs not in (legal, ALL_ACTIONS):
        raise DistillError(f"{named} with {outputs:g} actions; {game} has {legal}, or {ALL_ACTIONS} with all others")
    env = env._replace(full_action_set=outputs != legal)
    if atoms is not None:
        tensors["atoms"] = atoms
    imported = {"library": f"{content.library} {content.version}".strip(), "algorithm": algorithm, "pixels": pixels}
    header = {"game": game, "actions": env.action_names(game), "kind": layout.kind, "imported": imported}
    header |= {"rules": env.changed} if env.changed else {}
    if "more.0.bias" in tensors:
        header["activation"] = _activation(named, layout, content.said)
    _check_shapes(named, tensors, int(outputs))
    return header, tensors


def legal_alone(network: DQN, game: str) -> DQN:
    """Return a network of all 18 actions with the outputs of a game's legal ones alone."""
    tensors = network.state_dict()
    for name in ("out.weight", "out.bias"):
        tensors[name] = tensors[name].unflatten(0, (ALL_ACTIONS, -1))[list(legal_actions(game))].flatten(0, 1)
    legal = network.with_actions(len(legal_actions(game)))
    legal.load_state_dict(tensors)
    return legal.requires_grad_(False).eval()


def _named_as_here(layout: Layout, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = dict(zip(layout.layers, LAYERS, strict=False))
    further = sorted(_numbers(layout, tensors))
    if len(layout.layers) < len(LAYERS):
        names[f"{layout.head}{further.pop()}"] = LAYERS[-1]
    names |= {f"{layout.head}{number}": f"more.{place}" for place, number in enumerate(further)}
    return {
        f"{ours}.{part}": tensors[f"{theirs}.{part}"].float()
        for theirs, ours in names.items()
        for part in ("weight", "bias")
    }


def _numbers(layout: Layout, tensors: Iterable[str]) -> set[int]:
    """Return the numbers of the layers whose names begin as a layout's head."""
    found = (re.fullmatch(re.escape(layout.head) + r"(\d+)\.(weight|bias)", name) for name in tensors if layout.head)
    return {int(one[1]) for one in found if one}


def _layout(content: Content) -> Layout:
    names = set(content.tensors)
    for layout in LAYOUTS:
        needed = {f"{layer}.{part}" for layer in layout.layers for part in ("weight", "bias")}
        needed |= {layout.atoms} if layout.atoms else set()
        further = _numbers(layout, names)
        known = {f"{layout.head}{number}.{part}" for number in further for part in ("weight", "bias")}
        complete = needed | known <= names and (len(layout.layers) == len(LAYERS) or further)
        if layout.library == content.library and complete:
            others = {name for name in names - needed - known if not name.startswith(layout.beside)}
            if not others:
                return layout
            raise refusal(f"{_oddity(others)} of {content.library}")
    raise refusal(f"{_oddity(names)} that is none of {content.library}'s known ones")


def _check_spaces(named: str, said: dict[str, Any]) -> None:
    """Refuse a network whose file says that it acts or sees otherwise than Atari agents do."""
    actions, seen = said.get("action_space"), said.get("observation_space")
    kind = _class_name(actions.get(":type:")) if isinstance(actions, dict) else None
    if isinstance(actions, dict) and (kind, actions.get("start", "0")) not in (("Discrete", "0"), ("Discrete", 0)):
        begins = "" if kind != "Discrete" else f" from {actions.get('start')} on"
        raise DistillError(f"{named} whose actions are {kind}{begins}; a game's are Discrete, from 0 on")
    if isinstance(seen, dict):
        shape, dtype = seen.get("_shape"), seen.get("dtype")
        if shape != [4, 84, 84] or dtype != "uint8":
            raise DistillError(f"{named} that sees {dtype} {shape}; here there are uint8 [4, 84, 84]")


def _class_name(said: Any) -> str | None:
    """Return a class's name of how Python prints it: `Box` of `<class 'gymnasium.spaces.box.Box'>`."""
    found = re.fullmatch(r"<class '(?:\w+\.)*(\w+)'>", said) if isinstance(said, str) else None
    return found[1] if found else None


def _activation(named: str, layout: Layout, said: dict[str, Any]) -> str:
    """Name the function between further hidden layers: what the file says, or the library's default."""
    given = _class_name(_option(said, "activation_fn"))
    kind = given or ("ReLU" if layout.kind == "values" else "Tanh")
    if kind not in ACTIVATION_CLASSES:
        raise DistillError(f"{named} with {kind} between its layers; known are {', '.join(ACTIVATION_CLASSES)}")
    return ACTIVATION_CLASSES[kind]


def _oddity(names: set[str]) -> str:
    """Return the kind of a network whose tensors have certain names."""
    for word, kind in {"lstm|gru|rnn": "recurrent", "advantage|dueling|value_stream": "dueling"}.items():
        found = [name for name in sorted(names) if re.search(word, name, re.IGNORECASE)]
        if found:
            return f"a {kind} network (it has {found[0]})"
    return f"a network of other layers (it has {min(names, default='none')})"


def _algorithm(said: dict[str, Any]) -> str:
    """Name the algorithm of an actor and a critic by the options that only it has."""
    policy = said.get("policy_class")
    maskable = isinstance(policy, dict) and "maskable" in str(policy.get("__module__"))
    if "cg_max_steps" in said:
        return "TRPO"
    if "clip_range" in said:
        return "MaskablePPO" if maskable else "PPO"
    options = said.get("policy_kwargs")
    by_rms = "RMSprop" in str(options.get("optimizer_class") if isinstance(options, dict) else None)
    return "A2C" if by_rms or ("normalize_advantage" in said and "batch_size" not in said) else "actor-critic"


def _option(said: dict[str, Any], name: str) -> Any:
    options = said.get("policy_kwargs")
    return options.get(name) if isinstance(options, dict) else None


def _mean_of_quantiles(tensors: dict[str, Tensor], said: dict[str, Any]) -> dict[str, Tensor]:
    """Fold the mean over quantiles, which are outputs of the last layer, into that layer."""
    number = said.get("n_quantiles")
    if not isinstance(number, int) or number < 1 or len(tensors["out.bias"]) % number:
        raise DistillError(f"a Stable-Baselines3 QR-DQN that says n_quantiles is {number}")
    return {name: tensors[name].unflatten(0, (number, -1)).mean(dim=0) for name in ("out.weight", "out.bias")}


def _game_of(environment: str) -> str | None:
    """Return the ALE's name of the game of a gymnasium environment, such as `ALE/MsPacman-v5`; None for others."""
    name = environment.rpartition("/")[2].partition("-")[0].removesuffix("NoFrameskip")
    game = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return game if game in games() else None


def _check_shapes(named: str, tensors: dict[str, Tensor], num_actions: int) -> None:
    first, second, third, hidden = (tensors[f"{layer}.bias"].numel() for layer in SHARED)
    more = [of.numel() for name, of in tensors.items() if name.startswith("more.") and name.endswith(".bias")]
    with torch.device("meta"):
        ours = DQN((first, second, third, hidden), num_actions, atoms=tensors.get("atoms"), more=more)
    for name, tensor in ours.state_dict().items():
        if tensors[name].shape != tensor.shape:
            theirs, other = ("x".join(map(str, of.shape)) for of in (tensors[name], tensor))
            raise DistillError(f"{named} whose {name} is {theirs}; ours would be {other}")
