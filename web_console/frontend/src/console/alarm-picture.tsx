/** The camera of whoever raised an alarm, small and live on its card; what is not live says so and is grey. */

import { side } from "../strings/side.ts";
import type { WallSlot } from "../video/media.ts";
import { tileWords } from "../video/tile-words.ts";
import { SlotPicture, slotMarks } from "./slot-picture.tsx";
import { useSlotState, useSlotVideo } from "./slot-video.ts";

export function AlarmPicture({ slot, name, enlarge }: { slot: WallSlot; name: string; enlarge: () => void }) {
  const video = useSlotVideo(slot);
  const state = useSlotState(slot);
  const words = tileWords(state);
  const play = (): void => void video.current?.play().catch(() => undefined);
  return (
    <button
      type="button"
      class={`alarm-picture tone-${words.tone}`}
      {...slotMarks(slot, state)}
      aria-label={side("alarm_picture_of", { name, state: words.text })}
      title={side("alarm_picture_wall")}
      onClick={enlarge}
    >
      <SlotPicture
        slot={slot}
        state={state}
        video={video}
        icon={20}
        onPause={play} // a card that moves in the queue takes its element out of the page for a moment
      />
    </button>
  );
}
