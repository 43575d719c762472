/** What keeps this phone from hearing or being heard, and what to do about it. */
import { Icon } from "../icon.tsx";
import { errorWords } from "../strings/common.ts";
import { type PhoneTalkKey, say, sayTwo } from "../strings/phone-talk.ts";
import type { PhoneModel } from "./model.ts";

export function SoundProblems({ model }: { model: PhoneModel }) {
  const { shift, path } = model.radio.talk;
  const state = shift.state.value;
  const problem = state === "off" || shift.microphone.opening.value ? null : shift.microphone.problem.value;
  const refused = state !== "off" && path.peer.phase.value === "off" ? path.peer.problem.value : null;
  return (
    <div class="problems" aria-live="polite">
      {state === "blocked" && (
        <Notice of="blocked" again={say("unblock")} act={() => void shift.start(false)} />
      )}
      {problem && (
        <Notice of={`mic_${problem}`} again={say("again")} act={() => void shift.microphone.open()} />
      )}
      {refused && (
        <div class="notice notice-error" data-sound="path">
          <Icon name="circle-alert" size={22} />
          <div>
            <strong>{say("path_refused")}</strong> · {errorWords(refused.code).reason}
            <p>{errorWords(refused.code).next}</p>
            <button type="button" onClick={() => path.peer.start()}>
              {say("again")}
            </button>
          </div>
        </div>
      )}
    </div>
  );
}

function Notice({ of, again, act }: { of: PhoneTalkKey; again: string; act: () => void }) {
  const [what, next] = sayTwo(of);
  return (
    <div class="notice notice-error" data-sound={of}>
      <Icon name={of === "blocked" ? "volume-x" : "mic-off"} size={22} />
      <div>
        <strong>{what}</strong>
        <p>{next}</p>
        <button type="button" onClick={act}>
          {again}
        </button>
      </div>
    </div>
  );
}
