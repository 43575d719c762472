/** Why there is no picture, and what to do. */
import { useState } from "preact/hooks";
import { copy } from "../copy.ts";
import { Icon } from "../icon.tsx";
import { t as common, errorWords } from "../strings/common.ts";
import { t, two } from "../strings/phone.ts";
import type { PhoneModel } from "./model.ts";

export function Problems({ model }: { model: PhoneModel }) {
  const [copied, setCopied] = useState(false);
  const capture = model.publisher.capture.problem.value;
  const refused = model.publisher.peer.problem.value;
  const elsewhere = capture === "insecure" || capture === "in_app" || capture === "unsupported";
  const [what, next] = capture ? two(capture) : ["", ""];
  const words = refused && errorWords(refused.code);
  return (
    <div class="problems" aria-live="polite">
      {capture && (
        <div class="notice notice-error" data-problem={capture}>
          <Icon name="circle-alert" size={22} />
          <div>
            <strong>{what}</strong>
            <p>{next}</p>
            {elsewhere && (
              <>
                <code class="link-text">{model.address}</code>
                <button type="button" onClick={async () => setCopied(await copy(model.address))}>
                  <Icon name={copied ? "check" : "copy"} /> {copied ? t("copied") : t("copy_link")}
                </button>
              </>
            )}
          </div>
        </div>
      )}
      {refused && words && (
        <div class="notice notice-error" data-problem={refused.code}>
          <Icon name="circle-alert" size={22} />
          <div>
            {refused.code === "ended_by_officer" || refused.code === "replaced" ? (
              <strong>{t(refused.code)}</strong>
            ) : (
              <>
                <strong>{common("what_failed", { what: t("problem_live") })}</strong> · {words.reason}
                <p>{words.next}</p>
              </>
            )}
          </div>
        </div>
      )}
    </div>
  );
}
