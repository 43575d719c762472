/** A box that does one deed: what it needs to know, the deed, and why it failed. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { box } from "../strings/radio-boxes.ts";
import { ProblemNotice } from "../views/notice.tsx";
import { Dialog } from "./dialog.tsx";

/**
 * `deed`: its words on the button, "" = this person may not; `act` returns what went wrong, null closes the box.
 * `about`: above the fields; `after`: below the form.
 */
export function FormBox({
  title,
  about,
  deed,
  ready,
  act,
  close,
  children,
  after,
}: {
  title: string;
  about?: ComponentChildren;
  deed: string;
  ready: boolean;
  act: () => Promise<Problem | null>;
  close: () => void;
  children?: ComponentChildren;
  after?: ComponentChildren;
}) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    const wrong = await act();
    setBusy(false);
    setProblem(wrong);
    if (!wrong) close();
  };
  return (
    <Dialog title={title} close={close}>
      <form class="box-form" onSubmit={submit}>
        {about}
        {problem && <ProblemNotice what={title} problem={problem} wait={0} />}
        {children}
        <div class="buttons">
          {deed && (
            <button type="submit" class="primary" disabled={busy || !ready}>
              {deed}
            </button>
          )}
          <button type="button" onClick={close}>
            {box("cancel")}
          </button>
        </div>
      </form>
      {after}
    </Dialog>
  );
}
