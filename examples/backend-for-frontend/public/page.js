const NOT_SIGNED_IN = {
  denied: 'You did not allow it, so that you are not signed in.',
  failed: 'That did not work. Sign in again.',
};

const element = (id) => document.getElementById(id);

/** @returns what the backend answers; undefined where nobody is signed in */
async function callBackend(path, method = 'GET') {
  const response = await fetch(`/api${path}`, { method, headers: { 'X-Requested-By': 'page' } });
  if (response.status === 401) return undefined;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function show(session, otherwise = 'You are not signed in.') {
  element('message').textContent = session === undefined ? otherwise : `You are signed in as ${session.name}.`;
  element('signed-in').hidden = session === undefined;
  element('signed-out').hidden = session !== undefined;
}

element('call').addEventListener('click', async () => {
  try {
    const profile = await callBackend('/profile');
    if (profile === undefined) show(undefined, 'Your session has ended. Sign in again.');
    element('answer').textContent = profile === undefined ? '' : JSON.stringify(profile, null, 2);
  } catch (error) {
    element('answer').textContent = error.message;
  }
});

element('sign-out').addEventListener('click', async () => {
  const { location } = (await callBackend('/sign-out', 'POST')) ?? { location: '/' };
  window.location.assign(location);
});

const outcome = new URLSearchParams(window.location.search).get('sign-in');
if (outcome !== null) history.replaceState(null, '', '/');
show(await callBackend('/session'), NOT_SIGNED_IN[outcome]);
