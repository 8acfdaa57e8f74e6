"""Starts from play: a person's, as far as it can be verified, or another network's, which is said to be no person's."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distill import checks, protocol
from distill.atari.cartridge import check_game, rom_md5
from distill.atari.environments import Atari
from distill.atari.rules import EnvRules
from distill.atari.starts import COUNT, Episode, sample_starts
from distill.engine import frozen_policy
from distill.errors import DistillError
from distill.randomness import generator
from distill.rollout import in_turn, play
from distill.tools.demo_file import DEMO_SUFFIX, read_demo
from distill.tools.play_log import ARCHIVES, LogRow, pictures, read, verify
from distill.weights.hub import pinned
from distill.weights.load import find_weights, load_network

RECORDING_SUFFIXES = (".txt", DEMO_SUFFIX)
"""Of recordings in a folder."""


class ReadRecording(NamedTuple):
    """Somebody's play, as a file has it."""

    path: Path
    header: dict[str, Any]
    """What the file says of itself."""
    rows: list[LogRow]


def import_starts(
    log: str,
    out: str,
    game: str | None = None,
    player: str | None = None,
    licence: str | None = None,
    count: int = COUNT,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Draw starts from recordings of human play, after replaying them.

    Args:
        log: A recording by `record`, a label file of Atari-HEAD, a .demo file of openai/atari-demo, or a folder of
            these. A label file's pictures are looked for in a folder or a tar archive of its name, beside it.
        out: The file of starts.
        game: ALE name; where the recording does not say. A .demo file's own name, as in Pong.demo, says it, too.
        player: Who played; where the recording does not say.
        licence: Under which the recording may be used; where it does not say.
        count: How many to draw, 1 or more.
        seed: Of the drawing, 0 or more.
        overwrite: Whether a file that exists may be replaced.
    """
    checks.at_least(1, count=count)
    checks.at_least(0, seed=seed)
    if game is not None:
        check_game(game)
    folder = Path(log).is_dir()
    files = sorted(path for path in Path(log).iterdir() if path.is_file()) if folder else [Path(log)]
    checks.output("out", out, *(path for path in files if path.suffix in RECORDING_SUFFIXES), overwrite=overwrite)
    recordings = _readable(Path(log), files, game) if folder else [_opened(Path(log), game)]
    whose = _agreed(recordings, {"game": game, "player": player, "licence": licence})
    episodes = [episode for recording in recordings for episode in _confirmed(recording, whose["game"])]
    if not any(len(episode.actions) for episode in episodes):
        raise DistillError(f"no frame of {log} could be verified, so it gives no starts")
    starts = sample_starts(whose.pop("game"), episodes, count=count, seed=seed, human=True, **whose)
    starts.save(Path(out))
    print(f"{out}: {starts.described}, {starts.licence}")


def _opened(path: Path, game: str | None) -> ReadRecording:
    return ReadRecording(path, *(read_demo(path, game) if path.suffix == DEMO_SUFFIX else read(path)))


def _readable(folder: Path, files: list[Path], game: str | None) -> list[ReadRecording]:
    """Read a folder's recordings, and name what is none; archives may hold pictures of one."""
    recordings: list[ReadRecording] = []
    for path in files:
        try:
            if path.suffix in RECORDING_SUFFIXES:
                recordings.append(_opened(path, game))
            elif not path.name.endswith(ARCHIVES):
                print(f"{path} is no recording; skipped")
        except DistillError as error:
            print(f"{error}; skipped")
    if not recordings:
        raise DistillError(f"{folder} holds no recording ({', '.join(f'*{suffix}' for suffix in RECORDING_SUFFIXES)})")
    return recordings


def _agreed(recordings: list[ReadRecording], options: dict[str, str | None]) -> dict[str, str]:
    """Return whose play of which game this is, as options and files say it; no file speaks for another.

    Raises:
        ValueError: where neither a file nor an option says it, where two contradict each other, and for play on another
            cartridge.
    """
    whose = {name: said for name, said in options.items() if said is not None}
    for path, header, _ in recordings:
        for name in options:
            said = header.get(name, options[name])
            if said is None:
                raise DistillError(f"{path} does not say its {name}; give --{name}")
            if whose.setdefault(name, said) != said:
                raise DistillError(f"{path} says that its {name} is {said!r}, not {whose[name]!r}")
        cartridge = rom_md5(whose["game"])
        if header.get("rom_md5", cartridge) != cartridge:
            raise DistillError(f"{path} was played on the cartridge {header['rom_md5']}; installed is {cartridge}")
    return whose


def _confirmed(recording: ReadRecording, game: str) -> list[Episode]:
    """Replay a recording, and print how far its episodes could be verified."""
    with pictures(recording.path) as seen:
        verified = verify(game, recording.rows, seen)
    for number, one in enumerate(verified):
        how = ", with colour averaging" if one.color_averaging else ""
        why = f"; {one.diverges}" if one.diverges else ""
        frames = f"{one.vouched:,} of {one.rows:,} frames verified"
        print(f"{recording.path.name}, episode {number}: {frames}{how}{why}")
    return [one.episode for one in verified]


def draw_starts(
    weights: str,
    out: str,
    game: str | None = None,
    epsilon: float = 0.3,
    episodes: int = 10,
    count: int = COUNT,
    seed: int = 1,
    max_frames: int = protocol.MAX_FRAMES,
    overwrite: bool = False,
) -> None:
    """Draw starts from the play of a network, a stand-in for a person's; every score from them says so.

    Args:
        weights: Who plays: a shipped teacher's name, or a file, here or as `hf:owner/name` on the Hugging Face hub;
            better not the one that is to be scored.
        out: The file of starts.
        game: Which, of a network that plays several.
        epsilon: Probability of a random action, 0 to 1.
        episodes: How many are played, 1 or more.
        count: How many starts to draw, 1 or more.
        seed: Of play and drawing, 0 or more.
        max_frames: Longest episode in frames.
        overwrite: Whether a file that exists may be replaced.
    """
    checks.between(0, 1, epsilon=epsilon)
    checks.between(1, protocol.MOST_FRAMES, max_frames=max_frames)
    checks.at_least(1, episodes=episodes, count=count)
    checks.at_least(0, seed=seed)
    weights = pinned(weights)
    checks.output("out", out, find_weights(weights), overwrite=overwrite)
    network, header = load_network(weights, game)
    game = header["game"]
    env = EnvRules.of(header)._replace(sticky=0.0)  # else what was done is not what led there
    games = Atari(game, episodes, env=env, max_frames=max_frames)
    random = lambda number: generator(seed, "start", game, number) if number < episodes else None  # noqa: E731
    logs: list[list[int]] = []
    for step in play(frozen_policy(network), games, in_turn(random), lambda: epsilon):
        logs = logs or [games.lead_in(number).tolist() for number in range(episodes)]
        for number, action in zip(step.episodes.tolist(), step.actions.tolist(), strict=True):
            if number >= 0:
                logs[number] += [env.actions(game)[action]] * env.frame_skip
    games.close()
    starts = sample_starts(
        game,
        [Episode(np.array(log, np.uint8), len(log)) for log in logs],
        count=count,
        seed=seed,
        player=f"{Path(weights).name} at epsilon {epsilon:g}",
        human=False,
        licence="CC0-1.0",
    )
    starts.save(Path(out))
    print(f"{out}: {starts.described}")
