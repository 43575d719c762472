import type { Group } from "../messages.ts";
import { box } from "../strings/radio-boxes.ts";
import { setVolume } from "../voice/levels.ts";
import { useModel } from "./context.ts";

/** How loud one group is, on whichever bus it is heard. */
export function GroupVolume({ group }: { group: Group }) {
  const { talk } = useModel().desk;
  const volume = talk.volumes.value.groups[group.id] ?? 1;
  return (
    <label class="group-volume">
      <span>{box("volume")}</span>
      <input
        type="range"
        min="0"
        max="100"
        step="5"
        value={Math.round(volume * 100)}
        aria-label={box("volume_of", { name: group.name })}
        onInput={(event) => {
          const value = Number(event.currentTarget.value) / 100;
          talk.changeVolumes((volumes) => setVolume(volumes, group.id, value));
        }}
      />
      <span class="num">{Math.round(volume * 100)} %</span>
    </label>
  );
}
