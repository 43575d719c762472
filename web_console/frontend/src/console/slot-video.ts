/** What a slot's <video> needs, on whichever part of the page it stands: its tracks, and an eye on every frame. */
import { useSignalEffect } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { beat, now } from "../clock.ts";
import { watchFrames } from "../video/frames.ts";
import type { WallSlot } from "../video/media.ts";
import { type TileState, tileState } from "../video/slot.ts";
import { useModel } from "./context.ts";

export function useSlotVideo(slot: WallSlot): RefObject<HTMLVideoElement | null> {
  const { media } = useModel();
  const video = useRef<HTMLVideoElement>(null);
  useSignalEffect(() => {
    const element = video.current;
    const tracks = slot.tracks.value;
    if (!element || element.srcObject === tracks) return;
    element.srcObject = tracks;
    if (tracks) void element.play().catch(() => undefined);
  });
  useEffect(() => {
    const element = video.current;
    if (!element) return;
    return watchFrames(element, (received, delay) => media.frame(slot.index, received, delay));
  }, [media, slot]);
  return video;
}

/** What is true about a slot at this moment; the caller is drawn again when that may be something else. */
export function useSlotState(slot: WallSlot): TileState {
  const model = useModel();
  const { media } = model;
  beat.value; // seconds are counted
  media.version.value;
  const stream = slot.want.stream ? model.world.value.stream.get(slot.want.stream) : undefined;
  return tileState(
    slot.state,
    {
      permitted: media.permitted.value && model.may("stream.watch"),
      // without the server nobody knows how the stream is: then the fault is said to be on this side
      mediaUp:
        model.link.status.value.phase === "ready" &&
        (media.peer.phase.value === "up" || media.peer.phase.value === "shaky"),
      stream: stream && { ...stream, cause: model.causeOf(stream) },
    },
    now(),
  );
}
