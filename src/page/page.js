"use strict";
(() => {
    const EVERY_MS = 5000;
    const note = document.getElementById("note");
    let since = Date.now();
    const open = () => [...document.querySelectorAll("details")].map(d => d.open);
    async function look() {
        if (!document.hidden) {
            try {
                const answer = await fetch(location.href, {cache: "no-store"});
                if (!answer.ok) throw new Error("HTTP " + answer.status);
                const next = new DOMParser().parseFromString(await answer.text(), "text/html");
                const was = open(), main = document.querySelector("main"), fresh = next.querySelector("main");
                fresh.querySelectorAll("details").forEach((d, i) => { d.open = !!was[i]; });
                const scrolled = [...main.querySelectorAll(".wide")].map(w => w.scrollLeft);
                main.replaceWith(document.adoptNode(fresh));
                document.querySelectorAll(".wide").forEach((w, i) => { w.scrollLeft = scrolled[i] || 0; });
                document.title = next.title;
                since = Date.now();
                note.textContent = "Looks again every 5 s.";
                document.documentElement.classList.remove("stale");
            } catch (e) {
                note.textContent = "No answer for " + Math.round((Date.now() - since) / 1000) + " s: what follows is old.";
                document.documentElement.classList.add("stale");
            }
        }
        setTimeout(look, EVERY_MS);
    }
    note.textContent = "Looks again every 5 s.";
    setTimeout(look, EVERY_MS);
})();
