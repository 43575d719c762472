/** Parts of the console that are fetched when they are first needed, or when the page has nothing better to do. */
import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { Icon } from "../icon.tsx";
import { t } from "../strings/console.ts";

type Load<P> = () => Promise<ComponentType<P>>;

const waiting: (() => Promise<unknown>)[] = [];

/** A component that shows itself as soon as its code is there. */
export function later<P extends object>(load: Load<P>): ComponentType<P> {
  const loaded = signal<ComponentType<P> | null>(null);
  const failed = signal(false);
  const get = async (): Promise<void> => {
    if (loaded.peek()) return;
    failed.value = false;
    try {
      const part = await load();
      loaded.value = part;
    } catch {
      failed.value = true;
    }
  };
  waiting.push(get);
  return function Later(properties: P) {
    useEffect(() => void get(), []);
    const Part = loaded.value;
    if (Part) return <Part {...properties} />;
    return failed.value ? (
      <p class="part-missing" role="alert">
        {t("part_missing")}{" "}
        <button type="button" onClick={() => void get()}>
          {t("try_again")}
        </button>
      </p>
    ) : (
      <p class="part-missing dim" role="status">
        <Icon name="loader-circle" /> {t("part_loading")}
      </p>
    );
  };
}

/** Fetch everything now, so that it is there when the server is not. */
export async function fetchParts(): Promise<void> {
  for (const get of waiting) await get();
}
