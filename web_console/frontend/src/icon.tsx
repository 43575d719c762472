import { SPRITE } from "virtual:icons";
import type { IconName } from "./icon-names.ts";

/** Put the symbols into the page, and `more` that only this page has; once, before anything is drawn. */
export function installIcons(...more: string[]): void {
  for (const sprite of [SPRITE, ...more]) {
    const svg = document.adoptNode(new DOMParser().parseFromString(sprite, "image/svg+xml").documentElement);
    svg.setAttribute("class", "sprite");
    svg.setAttribute("aria-hidden", "true");
    document.body.append(svg);
  }
}

/** Decorative: what it means stands beside it in words or in its button's label. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class={`icon icon-${name}`} width={size} height={size} aria-hidden="true">
      <use href={`#i-${name}`} />
    </svg>
  );
}
