/** What is done to a unit or its video from the list: a new name, or the end of its publisher. */
import "../styles/deeds.css";
import { useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { Icon } from "../icon.tsx";
import { deed } from "../strings/deeds.ts";
import { ProblemNotice } from "../views/notice.tsx";
import { useModel } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { HoldButton } from "./hold-button.tsx";

export function DeedDialog() {
  const model = useModel();
  const deed = model.deed.value;
  if (deed?.kind === "rename") return <Rename key={deed.unit} id={deed.unit} />;
  if (deed?.kind === "close") return <CloseStream key={deed.stream} id={deed.stream} />;
  return null;
}

function Rename({ id }: { id: string }) {
  const model = useModel();
  const unit = model.world.value.unit.get(id);
  const [name, setName] = useState(unit?.name ?? "");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const close = (): void => {
    model.deed.value = null;
  };
  const same = !name.trim() || name.trim() === unit?.name;
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy || same) return;
    setBusy(true);
    const outcome = await model.link.command("unit.rename", { unit: id, name: name.trim() }, "resend");
    setBusy(false);
    if (!outcome.ok) return setProblem(outcome.problem);
    model.say("renamed", { name: name.trim() });
    close();
  };
  return (
    <Dialog title={deed("rename_title")} close={close}>
      <form class="deed" onSubmit={submit}>
        {problem && <ProblemNotice what={deed("rename_title")} problem={problem} wait={0} />}
        <div class="field">
          <label for="rename">{deed("rename_new")}</label>
          <input
            id="rename"
            value={name}
            maxLength={64}
            required
            autofocus
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </div>
        <button type="submit" class="primary" disabled={busy || same}>
          <Icon name={busy ? "loader-circle" : "check"} /> {deed("rename_do")}
        </button>
      </form>
    </Dialog>
  );
}

function CloseStream({ id }: { id: string }) {
  const model = useModel();
  const stream = model.world.value.stream.get(id);
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const name = model.nameOf(id);
  const close = (): void => {
    model.deed.value = null;
  };
  const end = async (): Promise<void> => {
    setBusy(true);
    const outcome = await model.link.command("stream.close", { stream: id, reason: reason.trim() }, "once");
    setBusy(false);
    if (!outcome.ok) return setProblem(outcome.problem);
    model.say("closed", { name });
    close();
  };
  return (
    <Dialog title={deed("close_what", { name })} close={close}>
      <div class="deed">
        <p>{stream?.via === "rtsp" ? deed("close_effect_camera") : deed("close_effect")}</p>
        {problem && <ProblemNotice what={deed("close_what", { name })} problem={problem} wait={0} />}
        <div class="field">
          <label for="close-reason">{deed("close_reason")}</label>
          <input
            id="close-reason"
            value={reason}
            maxLength={200}
            required
            autofocus
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </div>
        <HoldButton disabled={busy || !reason.trim()} act={() => void end()}>
          <Icon name="link-2-off" /> {deed("close_do")}
        </HoldButton>
      </div>
    </Dialog>
  );
}
