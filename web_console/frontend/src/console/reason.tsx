/** A reason that must be typed before something grave is done. */
import { box } from "../strings/radio-boxes.ts";

export function ReasonField({
  id,
  value,
  change,
}: {
  id: string;
  value: string;
  change: (value: string) => void;
}) {
  return (
    <div class="field">
      <label for={id}>{box("reason")}</label>
      <input
        id={id}
        value={value}
        maxLength={200}
        placeholder={box("reason_hint")}
        onInput={(event) => change(event.currentTarget.value)}
        required
      />
    </div>
  );
}
