/** How far the way to be heard is: four steps in a row, gone when all are good. */
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import { say } from "../strings/phone-talk.ts";
import type { PhoneModel } from "./model.ts";
import { allWell, type SoundStep, soundSteps } from "./steps.ts";

const ICONS: Record<SoundStep["state"], IconName> = {
  todo: "circle-dashed",
  wait: "loader-circle",
  ok: "circle-check",
  bad: "circle-alert",
};

function stepsOf(model: PhoneModel): SoundStep[] {
  const { shift, path } = model.radio.talk;
  return soundSteps({
    link: model.link.status.value.phase,
    shift: shift.state.value,
    starting: shift.starting.value,
    microphone: shift.microphone.track.value !== null,
    opening: shift.microphone.opening.value,
    problem: shift.microphone.problem.value,
    path: path.sure.value ? path.peer.phase.value : "joining",
    refused: path.peer.problem.value?.code ?? "",
  });
}

export function SoundSteps({ model }: { model: PhoneModel }) {
  const steps = stepsOf(model);
  if (allWell(steps)) return null;
  return (
    <ol class="steps" aria-label={say("steps")}>
      {steps.map(({ id, state }) => (
        <li key={id} class={`step-${state}`} data-step={id} data-state={state}>
          <Icon name={ICONS[state]} size={18} />
          <span>{say(`step_${id}`)}</span>
          <span class="only-read">{say(`state_${state}`)}</span>
        </li>
      ))}
    </ol>
  );
}
