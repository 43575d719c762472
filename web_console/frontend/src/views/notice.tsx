import { useEffect, useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { Icon } from "../icon.tsx";
import { errorWords, t } from "../strings/common.ts";

/** What failed, why, the next step, and how long to wait. */
export function ProblemNotice({ what, problem, wait }: { what: string; problem: Problem; wait: number }) {
  const { reason, next } = errorWords(problem.code);
  return (
    <div class="notice notice-error" role="alert" data-code={problem.code}>
      <Icon name="circle-alert" size={20} />
      <div>
        <strong>{t("what_failed", { what })}</strong> · {reason}
        <p>{t("next_step", { step: next })}</p>
        {wait > 0 && <p class="countdown">{t("retry_in", { n: wait })}</p>}
      </div>
    </div>
  );
}

/** Whole seconds left until `deadline` (performance.now() ms), counting down to 0. */
export function useCountdown(deadline: number): number {
  const [now, setNow] = useState(performance.now());
  const left = Math.max(0, Math.ceil((deadline - now) / 1000));
  useEffect(() => {
    setNow(performance.now());
    const timer = setInterval(() => {
      setNow(performance.now());
      if (performance.now() >= deadline) clearInterval(timer);
    }, 250);
    return () => clearInterval(timer);
  }, [deadline]);
  return left;
}
