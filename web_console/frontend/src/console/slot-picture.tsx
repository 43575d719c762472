/** The picture of a slot wherever it stands; what is not live says so, and is grey beneath it. */
import type { RefObject } from "preact";
import { Icon } from "../icon.tsx";
import type { WallSlot } from "../video/media.ts";
import { looksLive, type TileState } from "../video/slot.ts";
import { tileWords } from "../video/tile-words.ts";

/** What the styles, and whoever looks from outside, know of a slot by its element. */
export function slotMarks(slot: WallSlot, state: TileState) {
  return {
    "data-slot": slot.index,
    "data-state": state.kind,
    "data-stream": slot.want.stream ?? "",
    "data-picture": slot.state.hasPicture,
  };
}

/** In an element with `slotMarks`; `video` of `useSlotVideo`, `icon` in pixels. `next`: say what to do, too. */
export function SlotPicture({
  slot,
  state,
  video,
  icon,
  next,
  onPause,
}: {
  slot: WallSlot;
  state: TileState;
  video: RefObject<HTMLVideoElement | null>;
  icon: number;
  next?: boolean;
  onPause?: () => void;
}) {
  const words = tileWords(state);
  const empty = state.kind === "empty";
  const covered = !empty && !looksLive(state);
  return (
    <>
      <video
        ref={video}
        class={slot.state.hasPicture ? (covered ? "old" : "") : "none"}
        playsInline
        muted
        disablePictureInPicture
        onPause={onPause}
      />
      {covered && (
        <span class="cover">
          <Icon name={words.icon} size={icon} />
          <strong>{words.text}</strong>
          {words.sentence && <span>{words.sentence}</span>}
          {next && words.next && <span class="dim">{words.next}</span>}
        </span>
      )}
      {!empty && (
        <span class="chip">
          <Icon name={words.icon} size={14} />
          <span>{words.text}</span>
        </span>
      )}
    </>
  );
}
