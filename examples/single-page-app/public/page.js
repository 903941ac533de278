import { callApi, completeSignIn, renew, signIn, signOut } from './session.js';

const element = (id) => document.getElementById(id);

function show(user, otherwise = 'You are not signed in.') {
  element('message').textContent = user ? `You are signed in as ${user.profile.name ?? user.profile.sub}.` : otherwise;
  element('signed-in').hidden = !user;
  element('sign-in').hidden = Boolean(user);
}

element('sign-in').addEventListener('click', signIn);
element('sign-out').addEventListener('click', signOut);
element('call').addEventListener('click', async () => {
  try {
    const answer = await callApi('/profile');
    if (answer === undefined) show(undefined, 'Your session has ended. Sign in again.');
    element('answer').textContent = answer === undefined ? '' : JSON.stringify(answer, null, 2);
  } catch (error) {
    element('answer').textContent = error.message;
  }
});

try {
  // After a reload, whoever still is signed in at the issuer is signed in here.
  show(location.pathname === '/callback' ? await completeSignIn() : await renew());
} catch (error) {
  const isDenied = error.error === 'access_denied';
  show(
    undefined,
    isDenied ? 'You did not allow it, so that you are not signed in.' : 'That did not work. Sign in again.',
  );
}
