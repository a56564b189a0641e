/* Figures that can be enlarged on a telephone, and print that is dark on white. */

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.enlarge");
  const image = link?.firstElementChild;
  const large = link?.classList.contains("large");
  if (!image || (!large && image.clientWidth >= image.naturalWidth)) return;
  event.preventDefault();
  link.classList.toggle("large");
});

let before = "light";
addEventListener("beforeprint", () => {
  before = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
addEventListener("afterprint", () => { document.documentElement.dataset.theme = before; });
