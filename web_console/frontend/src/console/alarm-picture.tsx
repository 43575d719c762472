/** The camera of whoever raised an alarm, small and live on its card; what is not live says so and is grey. */
import { Icon } from "../icon.tsx";
import type { WallSlot } from "../media.ts";
import { looksLive } from "../slot.ts";
import { side } from "../strings/side.ts";
import { useSlotState, useSlotVideo } from "./slot-video.ts";
import { tileWords } from "./tile-words.ts";

export function AlarmPicture({ slot, name, enlarge }: { slot: WallSlot; name: string; enlarge: () => void }) {
  const video = useSlotVideo(slot);
  const state = useSlotState(slot);
  const words = tileWords(state);
  const live = looksLive(state);
  const play = (): void => void video.current?.play().catch(() => undefined);
  return (
    <button
      type="button"
      class={`alarm-picture tone-${words.tone}`}
      data-slot={slot.index}
      data-state={state.kind}
      data-stream={slot.want.stream ?? ""}
      data-picture={slot.state.hasPicture}
      aria-label={side("alarm_picture_of", { name, state: words.text })}
      title={side("alarm_picture_wall")}
      onClick={enlarge}
    >
      <video
        ref={video}
        class={slot.state.hasPicture ? (live ? "" : "old") : "none"}
        playsInline
        muted
        disablePictureInPicture
        onPause={play} // a card that moves in the queue takes its element out of the page for a moment
      />
      {!live && (
        <span class="cover">
          <Icon name={words.icon} size={20} />
          <strong>{words.text}</strong>
          {words.sentence && <span>{words.sentence}</span>}
        </span>
      )}
      <span class="chip">
        <Icon name={words.icon} size={14} />
        <span>{words.text}</span>
      </span>
    </button>
  );
}
