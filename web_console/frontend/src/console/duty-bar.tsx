/** The red bar: on duty, and yet nothing would be heard or said. It stays until that is mended. */
import { Icon } from "../icon.tsx";
import { type RadioKey, radio } from "../strings/radio.ts";
import { useModel } from "./context.ts";

const MICROPHONE: Record<string, RadioKey> = {
  denied: "mic_denied",
  none: "mic_none",
  busy: "mic_busy",
  insecure: "mic_insecure",
  unsupported: "mic_unsupported",
  failed: "mic_failed",
};

export function DutyBar() {
  const { desk } = useModel();
  const { shift } = desk.talk;
  const problem = shift.microphone.problem.value;
  if (shift.state.value === "off") return null;
  return (
    <>
      {shift.state.value === "blocked" && (
        <Bar icon="volume-x" text={radio("sound_blocked")} act={radio("sound_unblock")} />
      )}
      {problem && (
        <Bar icon="mic-off" text={radio(MICROPHONE[problem] ?? "mic_failed")} act={radio("again")} />
      )}
    </>
  );
}

function Bar({ icon, text, act }: { icon: "volume-x" | "mic-off"; text: string; act: string }) {
  const { desk } = useModel();
  return (
    <div class="duty-bar" role="alert">
      <Icon name={icon} size={20} />
      <strong>{text}</strong>
      <button type="button" onClick={() => void desk.talk.shift.start(false)}>
        {act}
      </button>
    </div>
  );
}
