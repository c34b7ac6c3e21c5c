// Pays an invoice with bitcore-wallet-client, the client of BitPay's wallet, by version 1 or 2 of JPP.
//
// Standard input is the job: { version, url, network, trustedKeys, unsigned, signed, rival }. Standard
// output is what the library made of every answer, whose signature it checks with the trusted keys; an error is { error },
// as the wallet would show it. An `untrusted` entry is what it says when it trusts another key.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

// The libraries are where this was started, not where it is.
const require = createRequire(`${process.cwd()}/`);
const { PayPro } = require('bitcore-wallet-client/ts_build/src/lib/paypro.js');
const { PayProV2 } = require('bitcore-wallet-client/ts_build/src/lib/payproV2.js');

const job = JSON.parse(readFileSync(0, 'utf8'));
// The library logs its errors to where the answer goes.
const print = console.log;
console.log = console.error;

const told = error => ({ error: error.message });
const attempt = promise => promise.then(value => value, told);

async function version2() {
  const client = PayProV2;
  const common = { paymentUrl: job.url, chain: 'bch', currency: 'BCH' };
  const transactions = hex => [{ tx: hex, weightedSize: job.signed.length / 2 }];
  const bpPartner = { bp_partner: 'copay', bp_partner_version: 'v14.0.0' };
  const select = () => client.selectPaymentOption({ ...common, payload: { address: 'none' } });
  const send = hex => client.sendSignedPayment({ ...common, signedTransactions: transactions(hex), bpPartner });
  const other = { nobody: { owner: 'Nobody', domains: ['127.0.0.1'], networks: [], publicKey: '' } };
  // The constructor keeps what it is given for the whole class, whose methods are all static.
  new PayProV2({}, other);
  const untrusted = await attempt(client.getPaymentOptions(common));
  new PayProV2({}, job.trustedKeys);
  return {
    untrusted,
    options: await attempt(client.getPaymentOptions(common)),
    // A wallet asks when it fetches, when it signs and when it broadcasts.
    selections: [await attempt(select()), await attempt(select()), await attempt(select())],
    verified: await attempt(
      client.verifyUnsignedPayment({ ...common, unsignedTransactions: transactions(job.unsigned) })
    ),
    paid: await attempt(send(job.signed)),
    again: await attempt(send(job.signed)),
    rival: await attempt(send(job.rival)),
    closed: await attempt(client.getPaymentOptions(common)),
    unknown: await attempt(
      client.getPaymentOptions({ ...common, paymentUrl: job.url.replace(/[0-9a-f]{32}$/, '0'.repeat(32)) })
    )
  };
}

async function version1() {
  const call = (method, own) =>
    new Promise((resolve, reject) => {
      const options = { url: job.url, coin: 'bch', network: job.network, trustedKeys: job.trustedKeys, ...own };
      PayPro[method](options, (error, body, memo) =>
        error ? reject(error) : resolve(method === 'send' ? { body: JSON.parse(body), memo } : body)
      );
    });
  return {
    request: await attempt(call('get', {})),
    paid: await attempt(call('send', { rawTxUnsigned: job.unsigned, rawTx: job.signed, bp_partner: 'copay' })),
    rival: await attempt(call('send', { rawTxUnsigned: job.rival, rawTx: job.rival })),
    closed: await attempt(call('get', {}))
  };
}

print(JSON.stringify(await (job.version === 2 ? version2() : version1())));
