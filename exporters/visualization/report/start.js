{
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const place of document.querySelectorAll("[data-kind]")) parts[place.dataset.kind](place, data[place.dataset.of]);
}
