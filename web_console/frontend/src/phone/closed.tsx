/** The page when it can do nothing: no link, an ended one, or another page that has taken over. */
import { Icon } from "../icon.tsx";
import { t, two } from "../strings/phone.ts";
import { say, sayTwo } from "../strings/phone-talk.ts";

type End =
  | "elsewhere"
  | "nobody"
  | "ended_expired"
  | "ended_revoked"
  | "ended_not_logged_in"
  | "ended_schema";

export function endOf(reason: string): End {
  const known: Record<string, End> = {
    expired: "ended_expired",
    revoked: "ended_revoked",
    schema: "ended_schema",
  };
  return known[reason] ?? "ended_not_logged_in";
}

export function Closed({ of }: { of: End }) {
  const [what, next] = of === "elsewhere" ? sayTwo(of) : two(of);
  return (
    <main class="closed" data-end={of}>
      <Icon name="lock" size={40} />
      <h1>{what}</h1>
      <p>{next}</p>
      {of === "ended_schema" || of === "elsewhere" ? (
        <button type="button" class="primary" onClick={() => location.reload()}>
          {of === "elsewhere" ? say("here") : t("reload")}
        </button>
      ) : (
        (of === "nobody" || of === "ended_not_logged_in") && (
          <a class="button" href="/login?next=%2Fm">
            {t("log_in")}
          </a>
        )
      )}
    </main>
  );
}
