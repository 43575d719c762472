"""Which layer feeds an outgoing track: choosing, waiting for key frames, falling back, pausing.

A `Feed` is what taps and transports' sinks have in common. It moves itself between the `feeding` and `awaited` lists of
layers; what it does with the packets is its heirs' business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from media.relay.messages import Codec, MediaKind, SinkStarted, SinkWaiting

if TYPE_CHECKING:
    from media.relay.source import Source, SourceLayer
    from media.relay.state import RelayState
    from media.relay.train import MediaPacket, Run


class Feed(ABC):
    """One outgoing track.

    `wanted`: the layer index control asked for; `layer`: the one that feeds it, None before the first key frame;
    `awaiting`: the one whose key frame it waits for.
    """

    def __init__(self, state: RelayState, number: int, kind: MediaKind) -> None:
        self.state = state
        self.number = number
        self.kind = kind
        self.video = kind is MediaKind.VIDEO
        self.source: Source | None = None
        self.layer: SourceLayer | None = None
        self.awaiting: SourceLayer | None = None
        self.wanted = 0
        self.paused = False
        self._told = ""  # the waiting reason last told

    # ------------------------------------------------------------------ for heirs

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether anything could leave."""

    @abstractmethod
    def takes(self, codec: Codec) -> bool:
        """Whether packets of this codec can leave."""

    @abstractmethod
    def forward(self, layer: SourceLayer, run: Run) -> None:
        """Take a run of rising packets of the layer that feeds it."""

    @abstractmethod
    def late(self, layer: SourceLayer, packet: MediaPacket) -> None:
        """Take one packet that others overtook."""

    @abstractmethod
    def replays(self, layer: SourceLayer) -> bool:
        """Whether to start from the packets kept since the last key frame, and if so, get ready for them."""

    @abstractmethod
    def forget(self) -> None:
        """What comes next does not continue what was forwarded; what still waits to leave is void."""

    # ------------------------------------------------------------------ steering

    def attach(self, source: Source) -> None:
        """The source's route now lists this sink."""
        self.source = source
        self._told = ""
        self.choose()

    def detach(self) -> None:
        """The source's route no longer lists this sink."""
        self._leave()
        self.forget()
        self.source = None

    def select(self, index: int, now: bool) -> None:
        """SelectLayer: -1 pauses; `now` gives up the present layer at once."""
        self.paused = index < 0
        if self.paused:
            self._leave()
            self.forget()
            self.tell("paused")
            return
        self.wanted = index
        if now and self.layer is not None and self.layer.index != index:
            self._leave()
        self.choose()

    def reconsider(self) -> None:
        """Path, keys or the source's layers changed."""
        self._told = ""
        self.choose()

    def choose(self) -> None:
        """Move towards the wanted layer, or the best live one when that one is dead or does not exist."""
        source = self.source
        if source is None or self.paused or not source.layers:
            return
        if not self.ready:
            self._leave()
            self.forget()
            self.tell("not_connected")
            return
        target = source.layers[min(self.wanted, len(source.layers) - 1)]
        if not target.live or target.index != self.wanted:
            target = source.best_live(self.wanted) or target
        if self.layer is target:
            self._stop_waiting()
        elif self.video:
            self._move(target)
        else:
            self._leave()
            self.join(target)
            if not target.live:
                self.tell("no_packets")

    def _move(self, target: SourceLayer) -> None:
        # What a dead source last showed must not look live.
        if self.layer is None and target.live and target.kept and self.replays(target):
            self._stop_waiting()
            self.join(target)
            target.replay_to(self)
            return
        if self.awaiting is not target:
            self._stop_waiting()
            self.awaiting = target
            target.awaited[self.number] = self
        target.ask_key_frame()
        if self.layer is None:
            self.tell("no_key_frame" if target.live else "no_packets")

    def join(self, layer: SourceLayer) -> None:
        """Be fed by `layer` from its next packet on."""
        if self.layer is layer:
            return
        self._stop_waiting()
        layer.flush()
        if self.layer is not None:
            self.layer.flush()
            self.layer.feeding.remove(self)
        self.layer = layer
        layer.feeding.append(self)

    def _stop_waiting(self) -> None:
        if self.awaiting is not None:
            self.awaiting.awaited.pop(self.number, None)
            self.awaiting = None

    def _leave(self) -> None:
        self._stop_waiting()
        if self.layer is not None:
            self.layer.flush()
        if self.layer is not None:
            self.layer.feeding.remove(self)
            self.layer = None

    # ------------------------------------------------------------------ what layers tell

    def interrupted(self) -> None:
        """The layer begins a new life: wait for its key frame; audio just goes on."""
        if self.video:
            self._leave()
            self.choose()

    def layer_stalled(self, layer: SourceLayer) -> None:
        if layer is self.layer or layer is self.awaiting:
            self.choose()

    def layer_returned(self, layer: SourceLayer) -> None:
        if layer.index == self.wanted or self.layer is None or not self.layer.live:
            self.choose()

    def layer_gone(self, layer: SourceLayer) -> None:
        if self.awaiting is layer:
            self.awaiting = None
        if self.layer is layer:
            self.layer = None

    # ------------------------------------------------------------------ telling

    def tell(self, reason: str) -> None:
        """Tell once why nothing leaves."""
        if self._told != reason and self.source is not None:
            self._told = reason
            self.state.events.put(SinkWaiting(sink=self.number, source=self.source.number, reason=reason))

    def tell_started(self, layer: SourceLayer) -> None:
        """Tell that this layer is what leaves now."""
        self._told = ""
        self.state.events.put(SinkStarted(sink=self.number, source=layer.source.number, layer=layer.index))
